"""image ──► windows in which an object may be, without a detector's weights.

Windows of several sizes cover the image. The score of a window is the cosine of its vector and the nearest
word: where the encoder is sure what it sees, there is one thing. The published proposals come from a trained
detector; `v2l.tokenizers.regions.detector` is the door for one.
"""

from __future__ import annotations

from v2l.places import Box

SIZES = 4  # windows have 1/1 to 1/4 of the image's width and of its height


def windows(sizes: int = SIZES) -> list[Box]:
    """Windows of each size, row by row; half of a window is between two of them.

    A width of 1/k goes with heights of 1/(k - 1), 1/k and 1/(k + 1).
    """
    pairs = [(x, y) for x in range(1, sizes + 1) for y in range(1, sizes + 1) if abs(x - y) <= 1]
    return [
        (left, top, left + 1 / columns, top + 1 / rows)
        for columns, rows in pairs
        for top in _starts(rows)
        for left in _starts(columns)
    ]


def _starts(parts: int) -> list[float]:
    """Where windows of the length 1/parts begin."""
    return [place / (2 * parts) for place in range(2 * parts - 1)]
