"""options of common, difference and story ──► a group of images with their words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.output import Output
from v2l.cli.progress import progress

if TYPE_CHECKING:
    from v2l.pipeline.pipeline import Pipeline
    from v2l.tasks.comparison.group import Group

GroupOfImages = Annotated[
    list[Path], typer.Argument(metavar="IMAGE...", help="Two photographs and more, or folders of them.")
]
Count = Annotated[int, typer.Option("--count", help="At most so many words.", min=1)]


def group_files(places: Sequence[Path]) -> list[Path]:
    """The image files of some places, folders with the files in them.

    Raises:
        V2LError: a folder holds no image.
    """
    from v2l.sources import find_images

    files: list[Path] = []
    for place in places:
        inside = find_images(place) if place.is_dir() else [place]
        files += [file for file in inside if isinstance(file, Path)]
    return files


def load_group(pipeline: Pipeline, files: Sequence[Path], least: int, words: int) -> Group:
    """The words and vectors of a group, with a bar while they are read.

    Raises:
        V2LError: too few images, one that cannot be read, or a tokenizer without words.
    """
    from v2l.pipeline.image_words import WordSelection
    from v2l.tasks.comparison.group import read_group

    with progress() as report:
        return read_group(pipeline.tokenizer, files, least, WordSelection(words, "nearest"), report)


def describe_guided(pipeline: Pipeline, files: Sequence[Path], task: str, out: Output) -> bool:
    """Print what the LLM says about a set, if the tokenizer is an adapter for sets; returns whether it is.

    Raises:
        V2LError: too many images, or one that cannot be read.
    """
    from v2l.tasks.comparison.guided import describe_set, reads_sets

    if not reads_sets(pipeline):
        return False
    sentence = describe_set(pipeline, files, task)
    record = {"images": list(map(str, files)), "sentence": sentence, "stack": pipeline.describe()}
    out.result(record, sentence)
    return True
