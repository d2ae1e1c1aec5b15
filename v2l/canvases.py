"""photographs ──► one canvas of 2, 4, 6 or 9 of them, in boxes that the seed draws."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from random import Random

import torch
from torch import Tensor

from v2l.images import centre_crop, load_image, resize
from v2l.places import Box
from v2l.sources import ImageFile

GRIDS = {2: (1, 2), 4: (2, 2), 6: (2, 3), 9: (3, 3)}  # photographs a canvas ──► rows, columns
CELL = 256  # pixels: the mean side of a photograph
UNEVEN = (
    0.7,
    1.3,
)  # the range of a row's height and of a column's width, before they are scaled to the canvas


@dataclass(frozen=True)
class Canvas:
    """One canvas.

    Attributes:
        files: photographs in raster order.
        boxes: of each photograph, in shares of the canvas.
        size: (height, width) in pixels.
    """

    files: tuple[ImageFile, ...]
    boxes: tuple[Box, ...]
    size: tuple[int, int]

    def picture(self) -> Tensor:
        """(3, H, W) float32 in [0, 1]; each photograph fills its box, and what is over is cropped.

        Raises:
            V2LError: a file is no readable image.
        """
        height, width = self.size
        canvas = torch.zeros(3, height, width)
        for file, (left, top, right, bottom) in zip(self.files, self.boxes, strict=True):
            x0, x1 = round(left * width), round(right * width)
            y0, y1 = round(top * height), round(bottom * height)
            canvas[:, y0:y1, x0:x1] = fill(load_image(file), (y1 - y0, x1 - x0))
        return canvas


def draw_canvas(files: tuple[ImageFile, ...], random: Random) -> Canvas:
    """A canvas of as many photographs as a key of `GRIDS`, with uneven borders between them."""
    rows, columns = GRIDS[len(files)]
    return Canvas(files, draw_boxes(rows, columns, random), (rows * CELL, columns * CELL))


def draw_boxes(rows: int, columns: int, random: Random) -> tuple[Box, ...]:
    """Boxes in rows of uneven height, each row with columns of uneven width of its own."""
    boxes: list[Box] = []
    for top, bottom in _cuts(rows, random):
        boxes += [(left, top, right, bottom) for left, right in _cuts(columns, random)]
    return tuple(boxes)


def fill(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an image (3, H, W) so that it covers `size` = (height, width), and crop its centre."""
    scale = max(size[0] / image.shape[-2], size[1] / image.shape[-1])
    height, width = (
        max(least, round(side * scale)) for side, least in zip(image.shape[-2:], size, strict=True)
    )
    return centre_crop(resize(image, (height, width)), size)


def _cuts(parts: int, random: Random) -> list[tuple[float, float]]:
    """[0, 1] in consecutive parts of uneven length."""
    lengths = [random.uniform(*UNEVEN) for _ in range(parts)]
    ends = [sum(lengths[:part]) / sum(lengths) for part in range(parts + 1)]
    return list(pairwise(ends))
