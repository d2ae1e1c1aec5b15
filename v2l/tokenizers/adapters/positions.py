"""a grid ──► 2-D sine positions: a fixed vector for each cell.

One half of the channels codes the row, the other half the column. Sources: Attention is all you need, arXiv
1706.03762, section 3.5, for one axis; MAE, arXiv 2111.06377, for two.
"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10000.0


def sine_positions(grid: tuple[int, int], width: int, reference: tuple[int, int] | None = None) -> Tensor:
    """The positions of a grid's cells, in raster order.

    A grid of another size than the reference has its cells at fractions of the reference's cells, so that
    equal places of an image have equal positions. Qwen-VL interpolates its table for this; the sine needs no
    interpolation.

    Args:
        grid: rows and columns.
        width: of a vector, a multiple of 4.
        reference: the grid whose cells are at 0, 1, 2, …; `grid` by default.

    Returns:
        (rows · columns, width) float32.

    Raises:
        ValueError: the width is no multiple of 4.
    """
    if width % 4:
        raise ValueError(f"got width {width}, allowed: multiples of 4")
    rows, columns = (
        (torch.arange(cells) + 0.5) * whole / cells - 0.5
        for cells, whole in zip(grid, reference or grid, strict=True)
    )
    by_row, by_column = _sines(rows, width // 2), _sines(columns, width // 2)
    pairs = torch.cat(
        [
            by_row[:, None].expand(-1, grid[1], -1),
            by_column[None].expand(grid[0], -1, -1),
        ],
        dim=-1,
    )
    return pairs.flatten(0, 1)


def _sines(places: Tensor, width: int) -> Tensor:
    """Coordinates (n,) ──► (n, width): sines of falling frequencies, then their cosines."""
    frequencies = BASE ** -(torch.arange(width // 2) / (width // 2))
    angles = places[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
