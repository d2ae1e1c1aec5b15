"""indices ──► how much of a codebook is in use: share, entropy, perplexity over a whole data set."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class CodeUsage:
    """Counts of codes.

    Args:
        size: how many codes can be reached; the denominator of `share`.

    Example:
        >>> usage = CodeUsage(4)
        >>> usage.add(torch.tensor([[0, 1], [0, 1]]))
        >>> usage.share, usage.entropy, usage.perplexity
        (0.5, 1.0, 2.0)
    """

    def __init__(self, size: int) -> None:
        self.counts = torch.zeros(size, dtype=torch.int64)

    def add(self, indices: Tensor) -> None:
        """Count rows of the codebook: any shape, int64 in [0, size).

        Raises:
            ValueError: a row lies outside the codebook.
        """
        counts = torch.bincount(indices.flatten().cpu(), minlength=len(self.counts))
        if len(counts) > len(self.counts):
            raise ValueError(f"got row {len(counts) - 1}, allowed is 0 to {len(self.counts) - 1}")
        self.counts += counts

    @property
    def used(self) -> int:
        """Codes that came at least once."""
        return int(self.counts.count_nonzero())

    @property
    def share(self) -> float:
        """`used` of all that can be reached, in [0, 1]."""
        return self.used / len(self.counts)

    @property
    def entropy(self) -> float:
        """Of the codes' distribution, in bits a code: 0 to log2 of the size."""
        shares = self.counts[self.counts > 0].double() / self.counts.sum()
        return max(0.0, -float((shares * shares.log2()).sum()))

    @property
    def perplexity(self) -> float:
        """2^entropy: as many codes, all equally often, would have this entropy."""
        return 2**self.entropy

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        of, counted = len(self.counts), int(self.counts.sum())
        return {
            "used": self.used,
            "of": of,
            "share": self.share,
            "entropy_bits": self.entropy,
            "perplexity": self.perplexity,
            "counted": counted,
        }
