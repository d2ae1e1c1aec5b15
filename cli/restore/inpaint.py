"""v2l inpaint: a photograph + a mask ──► the photograph with the frozen LLM's tokens under the mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.restore.options import RestorationOptions, restoration_command
from v2l.cli.restore.run import fill
from v2l.errors import V2LError

if TYPE_CHECKING:
    from torch import Tensor

MaskFile = Annotated[
    Path | None, typer.Option("--mask", help="Picture of the same size, white where to fill.")
]
Box = Annotated[str | None, typer.Option("--box", help="left,top,right,bottom in pixels.")]
Centre = Annotated[
    bool, typer.Option("--centre", help="The centre, half as high and half as wide; the default.")
]


@restoration_command("inpainted.png")
def inpaint(
    given: RestorationOptions, mask: MaskFile = None, box: Box = None, centre: Centre = False
) -> None:
    """Fill a hole in a photograph with tokens that the frozen LLM predicts from the visible part."""

    def masked(image: Tensor) -> tuple[Tensor, Tensor]:
        return image, chosen_mask((image.shape[-2], image.shape[-1]), mask, box, centre)

    fill(given, masked)


def chosen_mask(size: tuple[int, int], file: Path | None, box: str | None, centre: bool) -> Tensor:
    """The mask of the options, (H, W) bool.

    Raises:
        V2LError: several options give one, or it does not fit.
    """
    from v2l.masks import box_mask, centre_mask, load_mask

    if sum((file is not None, box is not None, centre)) > 1:
        got = "got more than one of --mask, --box and --centre"
        raise V2LError(got, "one of them", "v2l inpaint IMAGE --centre")
    if file is not None:
        return load_mask(file, size)
    return centre_mask(size) if box is None else box_mask(corners(box), size)


def corners(box: str) -> tuple[int, ...]:
    """left,top,right,bottom as numbers.

    Raises:
        V2LError: they are not four whole numbers.
    """
    try:
        left, top, right, bottom = (int(side) for side in box.split(","))
    except ValueError as error:
        allowed = "four whole numbers: left,top,right,bottom"
        raise V2LError(f"got --box {box}", allowed, "--box 60,60,120,140") from error
    return left, top, right, bottom
