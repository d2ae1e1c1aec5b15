"""v2l words: photographs ──► the LLM's words for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.options import Json, Tokenizer, options
from v2l.cli.output import Output, output
from v2l.cli.pipeline import load_pipeline
from v2l.errors import V2LError

if TYPE_CHECKING:
    from torch import Tensor

    from v2l.codebook.codebook import Codebook
    from v2l.pipeline.pipeline import Pipeline
    from v2l.sources import ImageFile
    from v2l.tokens import Word

Photographs = Annotated[
    list[Path],
    typer.Argument(
        metavar="IMAGE", help="Photographs, or folders of them; with --json one line of JSON each."
    ),
]
Count = Annotated[int, typer.Option("--count", "-n", help="Words of each image.", min=1)]
Local = Annotated[
    bool, typer.Option("--local", help="The grid of local tokens too: one subword for each cell of pixels.")
]
Selected = Annotated[
    str,
    typer.Option(
        "--selection",
        metavar="nearest|together",
        help="nearest: the words nearest to the image. "
        "together: words that sum up to it, as fewshot-classify reads them by default.",
    ),
]
LISTS = {
    "nearest": "the nearest words, as caption and vqa read them; "
    "fewshot-classify reads others: --selection together",
    "together": "words that sum up to the image, as fewshot-classify reads them; "
    "the nearest: --selection nearest",
}
OWN_LIST = "words of the tokenizer's own tokens, best first; fewshot-classify, caption and vqa read the same"


def words(
    ctx: typer.Context,
    images: Photographs,
    count: Count = 8,
    selection: Selected = "nearest",
    local: Local = False,
    tokenizer: Tokenizer = None,
    json: Json = False,
) -> None:
    """Name what is in photographs, in words of the frozen LLM's vocabulary, with the cosine of each."""
    from v2l.images import Skipped, load_images
    from v2l.sources import find_images, is_container
    from v2l.tokenizers.word_tagger import check_selection

    paths = [path for place in images for path in (find_images(place) if is_container(place) else [place])]
    skipped = Skipped()
    with output(json) as out:
        check_selection(selection)
        pipeline = load_pipeline(options(ctx), tokenizer)
        note: str | None = OWN_LIST if pipeline.tokenizer.tagger is None else LISTS[selection]
        for path, image in load_images(paths, skipped):
            found = pipeline.tokenizer.image_words(image[None], count, selection).words[0]
            if note is not None:  # once, before the first result
                out.note(note)
                note = None
            write(out, pipeline, Found(path, found, selection), image, local)
        if len(skipped) == len(paths):
            raise V2LError(f"none of {len(paths)} file(s) could be read; the first: {skipped.files[0][1]}")
        if skipped:
            out.note(skipped.report())


@dataclass(frozen=True)
class Found:
    """The words of one image.

    Attributes:
        path: its file.
        words: the best first.
        selection: how they were chosen.
    """

    path: ImageFile
    words: Sequence[Word]
    selection: str


def write(out: Output, pipeline: Pipeline, found: Found, image: Tensor, local: bool) -> None:
    """Print one image's file, words and selection, and a note when there is little to see in it.

    Args:
        out: standard output.
        pipeline: whose tokenizer found the words.
        found: file and words.
        image: (3, H, W) in [0, 1].
        local: whether its grid of local words is printed too.
    """
    record: dict[str, Any] = {
        "image": str(found.path),
        "words": [vars(word) for word in found.words],
        "selection": "own" if pipeline.tokenizer.tagger is None else found.selection,
        "stack": pipeline.describe(),
    }
    text = line(found.path, found.words)
    if local:
        model = pipeline.grid
        record["local_ids"] = model.encode_local(model.square(image[None]))[0].tolist()
        text += "\n" + grid(local_words(model.local_codebook, record["local_ids"]))
    out.result_with_note(record, text, pipeline.tokenizer.visibility_note(image))


def line(path: ImageFile, found: Sequence[Word]) -> str:
    """One image for people: its name, then its words with their cosines."""
    return f"{path}: " + ", ".join(f"{word.word} {word.score:.2f}" for word in found)


def local_words(codebook: Codebook, local_ids: list[list[int]]) -> list[list[str]]:
    """The grid of token ids as the codebook's words."""
    return [[codebook.words[codebook.row_of_token[token_id]] for token_id in row] for row in local_ids]


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Local words as a table of columns."""
    widths = [max(len(word) for word in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  " + " ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
