"""a grid ──► 2-D sine positions: a fixed vector for each cell.

One half of the channels codes the row, the other half the column. Sources: Attention is all you need, arXiv
1706.03762, section 3.5, for one axis; MAE, arXiv 2111.06377, appendix A.1, for two.
"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10_000.0


def sine_positions(grid: tuple[int, int], width: int, reference: tuple[int, int] | None = None) -> Tensor:
    """The positions of a grid's cells.

    A grid of another size than the reference has its cells at fractions of the reference's cells, so that
    equal places of an image have equal positions. Qwen-VL interpolates its table for this; the sine needs no
    interpolation.

    Args:
        grid: rows and columns.
        width: of a vector. When it is no multiple of 4, the channels that are left over are 0.
        reference: the grid whose cells are at 0, 1, 2, …; `grid` by default.

    Returns:
        (rows, columns, width) float32 in [-1, 1].
    """
    rows, columns = (
        (torch.arange(cells) + 0.5) * whole / cells - 0.5
        for cells, whole in zip(grid, reference or grid, strict=True)
    )
    half = width // 4 * 2
    positions = torch.zeros(*grid, width)
    positions[..., :half] = _sines(rows, half)[:, None]
    positions[..., half : 2 * half] = _sines(columns, half)[None]
    return positions


def _sines(places: Tensor, width: int) -> Tensor:
    """Coordinates (n,) ──► (n, width): sines of falling frequencies, then their cosines."""
    frequencies = BASE ** -(torch.arange(width // 2) / (width // 2))
    angles = places[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
