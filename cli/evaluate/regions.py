"""v2l evaluate regions: photographs with annotators' segments ──► how well clusters fit them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.evaluate.options import LimitOfTwo, Log, Places
from v2l.cli.options import Json, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.progress import progress

Segments = Annotated[
    Path,
    typer.Option(
        help="Folder of label maps, NAME_ANNOTATOR.png for each photograph NAME.jpg.", metavar="DIR"
    ),
]


def evaluate_regions(
    ctx: typer.Context,
    places: Places,
    segments: Segments,
    limit: LimitOfTwo = None,
    log: Log = None,
    tokenizer: Tokenizer = "setok",
    json: Json = False,
) -> None:
    """Measure clusters against the segments that people drew: covering, and best overlap of each segment.

    The baselines have the same number of parts: a regular grid, k-means on the same features, and SLIC. A
    rank correlation says whether photographs with more segments get more tokens.
    """
    from random import Random

    from v2l.evaluation.journal import Journal, files_metadata
    from v2l.evaluation.regions import evaluate_regions as run
    from v2l.evaluation.regions import page, report
    from v2l.sources import find_images
    from v2l.tokenizers.loading import load_tokenizer

    given = options(ctx)
    with output(json) as out:
        found = find_images(*places)
        drawn = Random(given.seed).sample(range(len(found)), min(limit or len(found), len(found)))
        files = [found[place] for place in sorted(drawn)]
        chosen = load_tokenizer(tokenizer, given.device)
        stack = {**chosen.describe(), "settings": chosen.settings()}
        facts = {
            "stack": stack,
            "images": files_metadata(files),
            "segments": files_metadata(sorted(segments.rglob("*.*"))),
            "seed": given.seed,
        }
        with progress() as report_progress:
            records = run(chosen, files, segments, Journal.open(log, facts), given.seed, report_progress)
        result = report(records) | {"seed": given.seed, "stack": stack, "images": records}
        out.result(result, page(result))
