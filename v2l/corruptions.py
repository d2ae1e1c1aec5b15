"""clean images ──► damaged ones: blur, shift, rotation; and the cells of the grid that a task hides.

What is drawn at random is drawn from a generator that the caller gives. Shifts run round the edges, so that they and rotations have an
exact inverse. Source: V2L Tokenizer, arXiv 2403.07874, section 4.3; the official code's parameters where it has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from v2l.errors import V2LError

KERNELS = (5, 7, 9, 11)  # of the official code
SHIFTS = (1 / 16, 1 / 4)  # least and most, as a share of a side


class Corruption(Protocol):
    """A way to damage images."""

    def damage(self, images: Tensor) -> Tensor:
        """Images (..., C, H, W) ──► damaged ones of the same size; sides may be exchanged."""
        ...

    def undo(self, images: Tensor) -> Tensor | None:
        """The exact inverse on pixels, which knows the parameters; None where there is none."""
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

    def damage(self, images: Tensor) -> Tensor:
        return gaussian_blur(images, [self.kernel, self.kernel])

    def undo(self, images: Tensor) -> None:
        return None


@dataclass(frozen=True)
class Shift:
    """A shift; what leaves at one edge comes in at the other.

    Attributes:
        down: as a share of the height.
        right: as a share of the width.
    """

    down: float = 0.125
    right: float = 0.125

    def damage(self, images: Tensor) -> Tensor:
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

    def damage(self, images: Tensor) -> Tensor:
        return torch.rot90(images, self.quarters, dims=(-2, -1))

    def undo(self, images: Tensor) -> Tensor:
        return torch.rot90(images, -self.quarters, dims=(-2, -1))


def draw_corruption(task: str, generator: torch.Generator) -> Blur | Shift | Rotation:
    """The damage of one image.

    Args:
        task: deblur, unshift or unrotate.
        generator: the source of chance; rotation is a quarter turn and draws nothing.
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
    """The bottom-right square of images (..., H, W): the official code's shift, which leaves a square image of that size as it is."""
    return images[..., -size:, -size:]


def centre_cells(grid: tuple[int, int]) -> Tensor:
    """(h, w) bool: the centre box, half as high and half as wide, which inpainting hides (rows 4–11 × columns 4–11 of 16 × 16)."""
    height, width = grid
    cells = torch.zeros(grid, dtype=torch.bool)
    cells[height // 4 : height // 4 + (height + 1) // 2, width // 4 : width // 4 + (width + 1) // 2] = True
    return cells


def lower_cells(grid: tuple[int, int]) -> Tensor:
    """(h, w) bool: the lower half, which outpainting hides (rows 8–15 of 16)."""
    cells = torch.zeros(grid, dtype=torch.bool)
    cells[grid[0] // 2 :] = True
    return cells


def all_cells(grid: tuple[int, int]) -> Tensor:
    """(h, w) bool: every cell, which deblurring and the like tell anew."""
    return torch.ones(grid, dtype=torch.bool)


REGIONS = {
    "inpaint": centre_cells,
    "outpaint": lower_cells,
    "deblur": all_cells,
    "unshift": all_cells,
    "unrotate": all_cells,
}
TASKS = tuple(REGIONS)
