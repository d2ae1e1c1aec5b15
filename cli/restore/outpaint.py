"""v2l outpaint: a photograph + a border ──► a larger photograph, the frozen LLM's tokens around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.restore.options import RestorationOptions, restoration_command
from v2l.cli.restore.run import fill

if TYPE_CHECKING:
    from torch import Tensor

Side = Annotated[int, typer.Option(help="Pixels to add at this side.")]


@restoration_command("outpainted.png")
def outpaint(
    given: RestorationOptions, left: Side = 0, top: Side = 0, right: Side = 0, bottom: Side = 0
) -> None:
    """Paint beyond the edges of a photograph; its own pixels stay as they are."""
    from v2l.tasks.restoration.outpaint import Border, on_canvas

    def masked(image: Tensor) -> tuple[Tensor, Tensor]:
        return on_canvas(image, Border(left, top, right, bottom))

    fill(given, masked)
