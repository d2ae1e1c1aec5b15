"""clean images ──► corrupted ones: blur, shift, rotation; and the grid cells that each task predicts.

Random parameters come from a generator that the caller gives. Shifts are cyclic, so that shifts and rotations
have an exact inverse. Source: V2L Tokenizer, arXiv 2403.07874, section 4.3; parameters of the official
code where it has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from v2l.errors import V2LError

KERNELS = (5, 7, 9, 11)  # pixels a side of a blur, as in the official code
SHIFTS = (1 / 16, 1 / 4)  # range of a shift, as a share of a side


class Corruption(Protocol):
    """A way to corrupt images."""

    def apply(self, images: Tensor) -> Tensor:
        """Images (..., C, H, W) ──► corrupted ones of the same size; sides may be exchanged."""
        ...

    def undo(self, images: Tensor) -> Tensor | None:
        """The exact inverse on pixels, by the known parameters; None where there is none."""
        ...


@dataclass(frozen=True)
class Blur:
    """A Gaussian blur, as torchvision and OpenCV size it.

    Attributes:
        kernel: pixels a side, odd; the standard deviation is 0.15 · kernel + 0.35.
    """

    kernel: int = 9

    def __post_init__(self) -> None:
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise V2LError(f"got a blur of {self.kernel} pixels a side", "an odd number", "--kernel 9")

    def apply(self, images: Tensor) -> Tensor:
        blurred: Tensor = gaussian_blur(images, [self.kernel, self.kernel])
        return blurred

    def undo(self, images: Tensor) -> None:
        return None


@dataclass(frozen=True)
class Shift:
    """A cyclic shift: content that leaves at one edge enters at the opposite one.

    Attributes:
        down: as a share of the height.
        right: as a share of the width.
    """

    down: float = 0.125
    right: float = 0.125

    def apply(self, images: Tensor) -> Tensor:
        return torch.roll(images, self._pixels(images), dims=(-2, -1))

    def undo(self, images: Tensor) -> Tensor:
        down, right = self._pixels(images)
        return torch.roll(images, (-down, -right), dims=(-2, -1))

    def _pixels(self, images: Tensor) -> tuple[int, int]:
        return round(self.down * images.shape[-2]), round(self.right * images.shape[-1])


@dataclass(frozen=True)
class Rotation:
    """Quarter turns.

    Attributes:
        quarters: how many, counter-clockwise.
    """

    quarters: int = 1

    def apply(self, images: Tensor) -> Tensor:
        return torch.rot90(images, self.quarters, dims=(-2, -1))

    def undo(self, images: Tensor) -> Tensor:
        return torch.rot90(images, -self.quarters, dims=(-2, -1))


def draw_corruption(task: str, generator: torch.Generator) -> Blur | Shift | Rotation:
    """Draw the corruption of one image.

    Args:
        task: deblur, unshift or unrotate.
        generator: of the parameters. A rotation is always one quarter turn and draws nothing.
    """
    if task == "deblur":
        return Blur(KERNELS[int(torch.randint(len(KERNELS), (), generator=generator))])
    if task == "unshift":
        least, most = SHIFTS
        sizes = least + (most - least) * torch.rand(2, generator=generator)
        signs = torch.randint(2, (2,), generator=generator) * 2 - 1
        down, right = (sizes * signs).tolist()
        return Shift(down, right)
    return Rotation(1)


def corner_crop(images: Tensor, size: int) -> Tensor:
    """The bottom-right square of images (..., H, W), which is the shift of the official code.

    A square image of that size stays as it is.
    """
    return images[..., -size:, -size:]


def centre_cells(grid: tuple[int, int]) -> Tensor:
    """(h, w) bool: the centre box, half as high and half as wide, which inpainting masks.

    On a grid of 16 × 16: rows 4–11, columns 4–11.
    """
    height, width = grid
    cells = torch.zeros(grid, dtype=torch.bool)
    cells[height // 4 : height // 4 + (height + 1) // 2, width // 4 : width // 4 + (width + 1) // 2] = True
    return cells


def lower_cells(grid: tuple[int, int]) -> Tensor:
    """(h, w) bool: the lower half, which outpainting masks (rows 8–15 of 16)."""
    cells = torch.zeros(grid, dtype=torch.bool)
    cells[grid[0] // 2 :] = True
    return cells


def all_cells(grid: tuple[int, int]) -> Tensor:
    """(h, w) bool: every cell. Tasks with a corruption predict all of them."""
    return torch.ones(grid, dtype=torch.bool)


REGIONS = {
    "inpaint": centre_cells,
    "outpaint": lower_cells,
    "deblur": all_cells,
    "unshift": all_cells,
    "unrotate": all_cells,
}
TASKS = tuple(REGIONS)
