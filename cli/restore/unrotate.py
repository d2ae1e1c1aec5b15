"""v2l unrotate: a turned photograph + other photographs ──► the photograph, in the LLM's tokens."""

from __future__ import annotations

from typing import Annotated

import typer

from v2l.cli.restore.options import RestorationOptions, restoration_command
from v2l.cli.restore.run import repair_photograph

Quarters = Annotated[
    int,
    typer.Option(help="Quarter turns that the photograph has gone through, counter-clockwise.", min=1, max=3),
]


@restoration_command("unrotated.png", without=("candidates", "order", "tiles"))
def unrotate(given: RestorationOptions, quarters: Quarters = 1) -> None:
    """Turn a photograph back, with tokens that the frozen LLM predicts from examples with the same turn."""
    from v2l.corruptions import Rotation

    repair_photograph(given, lambda image, examples, size: Rotation(quarters))
