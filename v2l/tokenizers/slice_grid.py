"""the size of an image ──► how it is cut into slices.

Source: LLaVA-UHD, arXiv 2403.11703, section 3.1, as its released code has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, log
from typing import NamedTuple

MOST = 9  # slices an image


class SliceGrid(NamedTuple):
    """Columns and rows of slices."""

    columns: int
    rows: int


def choose_grid(width: int, height: int, side: int, most: int = MOST) -> SliceGrid | None:
    """The grid whose cells are nearest in aspect to the encoder's square.

    The number of slices is n = min(ceil(W · H / s²), most), or one less or one more. Of all grids with so
    many cells, the one with the smallest |log(W / H) - log(columns / rows)| is chosen; on a tie, the first.

    Args:
        width: W, pixels.
        height: H, pixels.
        side: s, pixels a side of the square that the encoder reads.
        most: slices at most.

    Returns:
        None if the image fits into one square: then there are no slices.
    """
    ideal = min(ceil(width * height / side**2), most)
    if ideal <= 1:
        return None
    aspect = log(width / height)
    grids = (grid for count in (ideal - 1, ideal, ideal + 1) for grid in _grids(count, most))
    return min(grids, key=lambda grid: abs(aspect - log(grid.columns / grid.rows)))


def slice_boxes(grid: SliceGrid | None) -> list[tuple[float, float, float, float]]:
    """The whole image, then the slices row by row: left, top, right and bottom in shares of its sides."""
    whole = (0.0, 0.0, 1.0, 1.0)
    if grid is None:
        return [whole]
    w, h = grid
    return [whole, *((x / w, y / h, (x + 1) / w, (y + 1) / h) for y in range(h) for x in range(w))]


def _grids(count: int, most: int) -> Iterator[SliceGrid]:
    """All grids with `count` cells, the one with the fewest columns first; none with 1 cell or too many."""
    if 1 < count <= most:
        divisors = (columns for columns in range(1, count + 1) if count % columns == 0)
        yield from (SliceGrid(columns, count // columns) for columns in divisors)
