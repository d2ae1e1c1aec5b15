"""v2l evaluate common: a folder of classes ──► how often the class that a group shares is found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.options import Json, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="One folder of images for each class.")]
Groups = Annotated[int, typer.Option("--groups", help="Groups, drawn by --seed.", min=1)]
Sharing = Annotated[int, typer.Option("--sharing", help="Images of the shared class in a group.", min=2)]
Others = Annotated[int, typer.Option("--others", help="Images of other classes in a group.", min=0)]
Part = Annotated[str, typer.Option("--part", help="Images to draw from: eval, train (80/20 by name), all.")]


def evaluate_common(
    ctx: typer.Context,
    folder: Folder,
    groups: Groups = 200,
    sharing: Sharing = 3,
    others: Others = 2,
    part: Part = "eval",
    tokenizer: Tokenizer = None,
    json: Json = False,
) -> None:
    """Measure v2l common: how often the name of the class that a group shares is among its words.

    Beside it: the words nearest to the mean of the images' vectors, and counting words that images share.
    """
    from v2l.datasets import ClassFolder
    from v2l.evaluation.shared_words import GroupSettings, draw_groups, evaluate_shared, page, report
    from v2l.pipeline.image_words import tagger_of
    from v2l.tasks.classification.fewshot import find_part

    given = options(ctx)
    with output(json) as out:
        settings = GroupSettings(groups, sharing, others, seed=given.seed)
        drawn = draw_groups(ClassFolder.load(folder, find_part(part)), settings)
        pipeline = load_pipeline(given, tokenizer)
        shares = evaluate_shared(pipeline.tokenizer, tagger_of(pipeline.tokenizer), drawn)
        record = report(shares, settings) | {"part": part, "stack": pipeline.describe()}
        out.result(record, page(shares, settings))
