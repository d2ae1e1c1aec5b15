"""v2l make-sets: class folders ──► sets of images with answers, to train and to test on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.options import Json, options
from v2l.cli.output import output
from v2l.cli.progress import progress

Folder = Annotated[
    str,
    typer.Argument(
        metavar="FOLDER", help="One folder of images for each class; FOLDER@train is a part of it."
    ),
]
Target = Annotated[Path, typer.Option("--output", "-o", help="Folder of the sets.", metavar="DIR")]
Groups = Annotated[int, typer.Option(help="Groups of images that share a class, among others.", min=0)]
Sharing = Annotated[int, typer.Option(help="Images of a group that share the class.", min=2)]
Others = Annotated[int, typer.Option(help="Images of other classes in a group.", min=0)]
Pairs = Annotated[int, typer.Option(help="Photographs before and after an object came or went.", min=0)]
Sequences = Annotated[int, typer.Option(help="Sequences of images of different classes.", min=0)]
Length = Annotated[int, typer.Option(help="Images of a sequence.", min=2)]


def make_sets(
    ctx: typer.Context,
    folder: Folder,
    target: Target = Path("sets"),
    groups: Groups = 200,
    sharing: Sharing = 3,
    others: Others = 1,
    pairs: Pairs = 200,
    sequences: Sequences = 200,
    length: Length = 3,
    json: Json = False,
) -> None:
    """Draw sets of images from class folders: groups, pairs with a pasted object, sequences.

    They are written as sets.jsonl with the images and where each comes from. The same seed gives the same
    sets.
    """
    from v2l.datasets import ClassFolder
    from v2l.image_sets import SetSettings
    from v2l.image_sets import make_sets as make
    from v2l.sources import part_of

    with output(json) as out:
        settings = SetSettings(groups, sharing, others, pairs, sequences, length, options(ctx).seed)
        source, part = part_of(folder)
        with progress() as report:
            make(ClassFolder.load(source, part), target, settings, report)
        record = {"output": str(target), "sets": settings.total, "settings": vars(settings)}
        out.result(record, f"{settings.total:,} sets written to {target}")
