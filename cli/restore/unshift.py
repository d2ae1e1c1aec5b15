"""v2l unshift: a shifted photograph + other photographs ──► the photograph, in the LLM's tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.restore.options import RestorationOptions, restoration_command
from v2l.cli.restore.run import repair_photograph
from v2l.errors import V2LError

if TYPE_CHECKING:
    from torch import Tensor

    from v2l.corruptions import Shift

By = Annotated[
    str | None,
    typer.Option("--by", help="down,right in pixels; by default estimated from the seam of the shift."),
]


@restoration_command("unshifted.png", without=("candidates", "order", "tiles"))
def unshift(given: RestorationOptions, by: By = None) -> None:
    """Undo a cyclic shift, with tokens that the frozen LLM predicts from examples with the same shift."""
    from v2l.tasks.restoration.corruption_estimate import estimate_shift

    def shift_of(image: Tensor, examples: list[Tensor], size: int) -> Shift:
        return parse_shift(by, image) if by else estimate_shift(image)

    repair_photograph(given, shift_of)


def parse_shift(by: str, image: Tensor) -> Shift:
    """down,right in pixels ──► a shift, as a share of the sides of the image (3, H, W).

    Raises:
        V2LError: they are not two whole numbers, or reach beyond the image.
    """
    from v2l.corruptions import Shift

    height, width = image.shape[-2:]
    try:
        down, right = (int(pixels) for pixels in by.split(","))
    except ValueError as error:
        raise V2LError(f"got --by {by}", "two whole numbers: down,right", "--by 16,-24") from error
    if abs(down) >= height or abs(right) >= width:
        allowed = f"less than the photograph's {height} rows and {width} columns"
        raise V2LError(f"got --by {by}", allowed, "--by 16,-24")
    return Shift(down / height, right / width)
