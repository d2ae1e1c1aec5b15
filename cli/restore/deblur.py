"""v2l deblur: a blurred photograph + other photographs ──► a sharper one, in the LLM's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.restore.options import RestorationOptions, restoration_command
from v2l.cli.restore.run import repair_photograph

if TYPE_CHECKING:
    from torch import Tensor

    from v2l.corruptions import Blur

Kernel = Annotated[
    int | None,
    typer.Option(
        help="Pixels a side of the blur at the model's size, odd (5, 7, 9, 11); by default estimated."
    ),
]


@restoration_command("deblurred.png", without=("candidates", "order"))
def deblur(given: RestorationOptions, kernel: Kernel = None) -> None:
    """Sharpen a photograph with tokens that the frozen LLM predicts from examples with the same blur."""
    from v2l.corruptions import Blur
    from v2l.tasks.restoration.corruption_estimate import estimate_blur

    known = None if kernel is None else Blur(kernel)

    def blur_of(image: Tensor, examples: list[Tensor], size: int) -> Blur:
        return known or estimate_blur(image, examples, size)

    repair_photograph(given, blur_of)
