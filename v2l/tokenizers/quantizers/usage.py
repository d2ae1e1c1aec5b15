"""indices ──► usage of a codebook over a data set: share, entropy and perplexity."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class CodeUsage:
    """Counts how often each code occurs.

    Args:
        size: number of codes that can occur; the denominator of `share`.

    Example:
        >>> usage = CodeUsage(4)
        >>> usage.add(torch.tensor([[0, 1], [0, 1]]))
        >>> usage.share, usage.entropy, usage.perplexity
        (0.5, 1.0, 2.0)
    """

    def __init__(self, size: int) -> None:
        self.counts = torch.zeros(size, dtype=torch.int64)

    def add(self, indices: Tensor) -> None:
        """Count indices of any shape, int64 in [0, size).

        Raises:
            ValueError: an index is not in [0, size).
        """
        counts = torch.bincount(indices.flatten().cpu(), minlength=len(self.counts))
        if len(counts) > len(self.counts):
            raise ValueError(f"got row {len(counts) - 1}, allowed is 0 to {len(self.counts) - 1}")
        self.counts += counts

    @property
    def used(self) -> int:
        """Number of codes that occurred at least once."""
        return int(self.counts.count_nonzero())

    @property
    def share(self) -> float:
        """`used` divided by the size, in [0, 1]."""
        return self.used / len(self.counts)

    @property
    def entropy(self) -> float:
        """Entropy of the distribution of the codes, in bits per code: 0 to log2 of the size."""
        shares = self.counts[self.counts > 0].double() / self.counts.sum()
        return max(0.0, -float((shares * shares.log2()).sum()))

    @property
    def perplexity(self) -> float:
        """2^entropy: the number of equally frequent codes that would have the same entropy."""
        return 2**self.entropy

    def to_dict(self) -> dict[str, Any]:
        """All figures by name, as plain numbers for reports."""
        of, counted = len(self.counts), int(self.counts.sum())
        return {
            "used": self.used,
            "of": of,
            "share": self.share,
            "entropy_bits": self.entropy,
            "perplexity": self.perplexity,
            "counted": counted,
        }
