"""picture, box or size ──► a mask (H, W) bool, True where an image is to be filled."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.images import Readable, load_image, opacity

GREY_ALLOWED = 0.1  # share of a mask's pixels: soft edges and traces of JPEG
HALF_OPAQUE = 128  # of 255


def load_mask(file: str | Readable, size: tuple[int, int]) -> Tensor:
    """Read a mask: (H, W) bool, True where the picture is white, to be filled. Transparent counts as black.

    Raises:
        V2LError: no readable image, grey rather than black and white, another size than `size` = (H, W),
            nothing masked, or everything.
    """
    values = load_image(file, background="black").mean(dim=0)
    between = ((values > 0.2) & (values < 0.8)).float().mean().item()
    if between > GREY_ALLOWED:
        got = f"the mask {file} is not black and white: {between:.0%} of its pixels are grey"
        raise V2LError(
            got,
            "white where to fill and black elsewhere, soft edges excepted",
            "--centre, or another picture",
        )
    return check_mask(values >= 0.5, size, name=f"the mask {file}")


def transparent_part(file: Readable) -> Tensor | None:
    """Where a picture is transparent: (H, W) bool, True below half opacity; None if it is opaque.

    Raises:
        V2LError: as `load_image`.
    """
    transparent = opacity(file) < HALF_OPAQUE
    return transparent if bool(transparent.any()) else None


def box_mask(box: Sequence[int], size: tuple[int, int]) -> Tensor:
    """A mask (H, W), True in `box` = (left, top, right, bottom) in pixels; right and bottom are excluded.

    Raises:
        V2LError: the box is empty, is the whole image, or does not lie inside `size` = (H, W).
    """
    height, width = size
    left, top, right, bottom = box
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        got = ",".join(str(side) for side in box)
        allowed = f"left,top,right,bottom inside the image's {width} × {height}"
        raise V2LError(f"got box {got}", allowed, f"--box 0,0,{width // 2},{height // 2}")
    mask = torch.zeros(size, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return check_mask(mask, size, name="the box")


def centre_mask(size: tuple[int, int]) -> Tensor:
    """The mask of the centre box, half as high and half as wide as `size` = (H, W).

    Raises:
        V2LError: the image is too small to have a centre and a border.
    """
    height, width = size
    if height * width < 2:
        raise V2LError(
            f"an image of {width} × {height} pixels has no centre and no border",
            "at least 2 pixels",
            "a larger image",
        )
    top, left = height // 4, width // 4
    return box_mask((left, top, left + (width + 1) // 2, top + (height + 1) // 2), size)


def check_mask(mask: Tensor, size: tuple[int, int], name: str = "the mask") -> Tensor:
    """The mask itself, when it is bool of `size` = (H, W) and leaves something to do and something to see.

    Raises:
        V2LError: it does not.
    """
    white = "white pixels, which mark what to fill, beside black ones"
    if mask.dtype != torch.bool:
        raise V2LError(f"{name} holds {mask.dtype}", "torch.bool, True where to fill", "mask > 0.5")
    if tuple(mask.shape) != tuple(size):
        got = " × ".join(str(side) for side in reversed(mask.shape))
        raise V2LError(
            f"{name} is {got} pixels",
            f"the image's size, {size[1]} × {size[0]}",
            "a mask drawn on the image itself",
        )
    if not mask.any():
        raise V2LError(f"{name} is empty: nothing to fill", white, "--centre")
    if mask.all():
        raise V2LError(f"{name} covers the whole image: nothing is left to look at", white, "--centre")
    return mask
