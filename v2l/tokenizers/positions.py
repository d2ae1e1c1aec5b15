"""a grid ──► sine positions of its cells.

Source: arXiv 1706.03762, section 3.5; in two dimensions: MAE, arXiv 2111.06377, appendix A.1.
"""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10_000.0  # of the wavelengths, as in arXiv 1706.03762, section 3.5


def sine_positions(rows: int, columns: int, width: int) -> Tensor:
    """(rows, columns, width) float32 in [-1, 1].

    The first half of the channels codes the column, the second half the row. Each half has sines, then
    cosines, of width / 4 wavelengths. Channels that are left over are 0.
    """
    quarter = width // 4
    frequencies = BASE ** (-torch.arange(quarter) / max(1, quarter))
    y, x = (torch.arange(count)[:, None] * frequencies for count in (rows, columns))  # (count, quarter)
    positions = torch.zeros(rows, columns, width)
    positions[..., : 2 * quarter] = torch.cat([x.sin(), x.cos()], dim=-1)[None]
    positions[..., 2 * quarter : 4 * quarter] = torch.cat([y.sin(), y.cos()], dim=-1)[:, None]
    return positions
