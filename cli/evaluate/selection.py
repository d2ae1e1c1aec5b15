"""v2l evaluate selection: photographs ──► how much of the frozen features the kept patches bring back."""

from __future__ import annotations

import typer

from v2l.cli.evaluate.member import Measured, measure
from v2l.cli.evaluate.options import LimitOfTwo, Places
from v2l.cli.options import Json, Tokenizer, options


def evaluate_selection(
    ctx: typer.Context,
    places: Places,
    limit: LimitOfTwo = None,
    tokenizer: Tokenizer = "lavit",
    json: Json = False,
) -> None:
    """Measure which patches lavit keeps: the cosine of rebuilt features when 20, 33 and 50 % are kept.

    The baselines keep equally many patches: at equal steps, and at random.
    """
    from v2l.evaluation.selection import evaluate_selection as run
    from v2l.evaluation.selection import page

    measure(run, page, Measured(tokenizer, places, limit), options(ctx), json)
