"""v2l evaluate detokenizer: photographs ──► how near the images from setok's tokens come."""

from __future__ import annotations

from typing import Annotated

import typer

from v2l.cli.evaluate.options import LimitOfTwo, Places
from v2l.cli.options import Json, options
from v2l.cli.output import output
from v2l.cli.progress import progress

Checkpoint = Annotated[str, typer.Option(help="A checkpoint of v2l train-setok.", metavar="NAME|FOLDER")]


def evaluate_detokenizer(
    ctx: typer.Context,
    places: Places,
    limit: LimitOfTwo = None,
    tokenizer: Checkpoint = "runs/setok/model",
    json: Json = False,
) -> None:
    """Measure setok's detokenizer: the perceptual distance, beside as many means of k-means clusters."""
    from random import Random

    from v2l.evaluation.detokenizer import evaluate_detokenizer as run
    from v2l.evaluation.detokenizer import page
    from v2l.sources import find_images
    from v2l.tokenizers.loading import load_tokenizer

    given = options(ctx)
    with output(json) as out:
        found = find_images(*places)
        drawn = Random(given.seed).sample(range(len(found)), min(limit or len(found), len(found)))
        files = [found[place] for place in sorted(drawn)]
        chosen = load_tokenizer(tokenizer, given.device)
        with progress() as report:
            result = run(chosen, files, seed=given.seed, progress=report)
        stack = {**chosen.describe(), "settings": chosen.settings(), "facts": chosen.facts}
        out.result(result | {"seed": given.seed, "stack": stack}, page(result))
