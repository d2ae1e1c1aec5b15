"""v2l evaluate detokenizer: photographs ──► how near the images from setok's tokens come."""

from __future__ import annotations

from typing import Annotated

import typer

from v2l.cli.evaluate.member import Measured, measure
from v2l.cli.evaluate.options import LimitOfTwo, Places
from v2l.cli.options import Json, options

Checkpoint = Annotated[str, typer.Option(help="A checkpoint of v2l train-setok.", metavar="NAME|FOLDER")]


def evaluate_detokenizer(
    ctx: typer.Context,
    places: Places,
    limit: LimitOfTwo = None,
    tokenizer: Checkpoint = "setok",
    json: Json = False,
) -> None:
    """Measure setok's detokenizer: the perceptual distance, beside as many means of k-means clusters."""
    from v2l.evaluation.detokenizer import evaluate_detokenizer as run
    from v2l.evaluation.detokenizer import page

    measure(run, page, Measured(tokenizer, places, limit), options(ctx), json)
