"""image ──► boxes in which an object may be, without a detector's weights.

Windows of several sizes cover the image, and the joint encoder scores each: the nearer a word is to what it
sees in a window, the more probable it is that the window holds one thing. The published proposals come from
a trained detector; `v2l.tokenizers.regions.detector` is the door for one.
"""

from __future__ import annotations

from v2l.places import Box

SIZES = (1, 2, 3)  # windows have 1/k of the image's sides, and half of a window is between two of them


def windows(sizes: tuple[int, ...] = SIZES) -> list[Box]:
    """Windows of each size, row by row: (2k - 1)² for the size 1/k."""
    boxes: list[Box] = []
    for size in sizes:
        side, count = 1 / size, 2 * size - 1
        starts = [place * side / 2 for place in range(count)]
        boxes += [(left, top, left + side, top + side) for top in starts for left in starts]
    return boxes
