"""a large image ⇄ one grid of codes, tile by tile, so that memory is bounded and no border shows.

The codes are one grid, as from a single pass. A tile is read with cells around it, and of its codes the inner
ones are kept. Decoded tiles overlap and are blended. Both are needed because self-attention and group
normalisation depend on everything that they are given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tiling:
    """How a large grid is cut.

    Attributes:
        side: cells a side of a tile.
        overlap: cells that neighbours share at least.
        single_pass: grids of at most so many cells are not cut, because their attention fits into memory.
    """

    side: int
    overlap: int
    single_pass: int


@dataclass(frozen=True)
class Stretch:
    """A tile along one axis, in cells.

    Attributes:
        read: what the network gets.
        own: the part of it whose codes are kept; the own parts of all tiles cover the axis once.
        first: whether the axis begins here.
        last: whether it ends here.
    """

    read: slice
    own: slice
    first: bool
    last: bool

    @property
    def own_in_read(self) -> slice:
        """The own part, counted from the beginning of what is read."""
        return slice(self.own.start - self.read.start, self.own.stop - self.read.start)

    def ramp(self, overlap: int, factor: int) -> Tensor:
        """Weight of each pixel in the blend: it falls linearly towards a neighbour, over the overlap."""
        cells = self.read.stop - self.read.start
        from_start = (torch.arange(cells * factor) + 0.5) / (overlap * factor)
        ones = torch.ones(cells * factor)
        rising, falling = (ones if self.first else from_start), (ones if self.last else from_start.flip(0))
        return torch.minimum(rising, falling).clamp(max=1)


def stretches(length: int, tiling: Tiling) -> list[Stretch]:
    """Tiles along an axis of `length` cells, at about equal distances."""
    spare = max(0, length - tiling.side)
    steps = -(-spare // (tiling.side - tiling.overlap))
    starts = [round(step * spare / max(1, steps)) for step in range(steps + 1)]
    ends = [min(length, start + tiling.side) for start in starts]
    borders = [0, *((end + start) // 2 for end, start in zip(ends, starts[1:], strict=False)), length]
    return [
        Stretch(slice(start, end), slice(*own), start == 0, end == length)
        for start, end, own in zip(starts, ends, pairwise(borders), strict=True)
    ]


def encode_in_tiles(encode: Callable[[Tensor], Tensor], images: Tensor, factor: int, cut: Tiling) -> Tensor:
    """Images (B, 3, H, W) ──► codes (B, h, w) int64.

    Args:
        encode: a part (B, 3, h' · f, w' · f) ──► (B, h', w').
        images: H and W are multiples of `factor`.
        factor: f, the side of one cell in pixels.
        cut: how a large grid is cut.
    """
    rows, columns = images.shape[-2] // factor, images.shape[-1] // factor
    if rows * columns <= cut.single_pass:
        return encode(images)
    codes = torch.zeros(len(images), rows, columns, dtype=torch.int64, device=images.device)
    for down, across in product(stretches(rows, cut), stretches(columns, cut)):
        part = encode(images[..., _pixels(down, factor), _pixels(across, factor)])
        codes[:, down.own, across.own] = part[:, down.own_in_read, across.own_in_read]
    return codes


def decode_in_tiles(decode: Callable[[Tensor], Tensor], codes: Tensor, factor: int, cut: Tiling) -> Tensor:
    """Codes (B, h, w) ──► images (B, 3, h · f, w · f), in the range of `decode`, on the codes' device.

    Args:
        decode: a part (B, h', w') ──► (B, 3, h' · f, w' · f).
        codes: int64.
        factor: f, the side of one cell in pixels.
        cut: how a large grid is cut.
    """
    rows, columns = codes.shape[-2:]
    if rows * columns <= cut.single_pass:
        return decode(codes)
    images = torch.zeros(len(codes), 3, rows * factor, columns * factor)
    weights = torch.zeros(rows * factor, columns * factor)
    for down, across in product(stretches(rows, cut), stretches(columns, cut)):
        weight = down.ramp(cut.overlap, factor)[:, None] * across.ramp(cut.overlap, factor)
        place = (_pixels(down, factor), _pixels(across, factor))
        images[:, :, *place] += decode(codes[:, down.read, across.read]).cpu() * weight
        weights[place] += weight
    return (images / weights).to(codes.device)


def _pixels(stretch: Stretch, factor: int) -> slice:
    return slice(stretch.read.start * factor, stretch.read.stop * factor)
