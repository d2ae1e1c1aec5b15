"""lengths ──► batches of rows of about the same length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def batches(lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Row numbers, at most `size` at a time, shortest rows first, so that little is padded."""
    if size < 1:
        raise ValueError(f"got batch size {size}, allowed: 1 and more")
    order = sorted(range(len(lengths)), key=lambda row: lengths[row])
    for start in range(0, len(order), size):
        yield order[start : start + size]
