"""features ──► codebook indices: each entry is a moving average of the features assigned to it.

The entries get no gradient. Source: VQ-VAE, arXiv 1711.00937, appendix A.1. The counts have Laplace
smoothing, as in its published code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from v2l.tokenizers.quantizers.base import Quantizer
from v2l.tokenizers.quantizers.dead_codes import DeadCodes, Seen, sum_over_processes
from v2l.tokenizers.quantizers.k_means import k_means

DECAY, SMOOTHING = 0.99, 1e-5


class AveragedQuantizer(Quantizer):
    """A codebook of exponential moving averages (EMA).

    Args:
        size: V, the number of entries.
        width: d, the width of entries and features.
        commitment_weight: weight of the loss that moves features towards their entries. There is no codebook
            loss, because the averages update the entries.
        restart_after: number of steps without use before an entry is replaced; 0 means never.
    """

    codebook: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, size: int, width: int, commitment_weight: float = 1.0, restart_after: int = 0) -> None:
        super().__init__(commitment_weight, codebook_weight=0.0)
        self.seen, self.dead_codes = Seen(), DeadCodes(size, restart_after)
        self.register_buffer("codebook", torch.empty(size, width).uniform_(-1 / size, 1 / size))
        self.register_buffer("counts", torch.ones(size))  # N of the appendix
        self.register_buffer("sums", self.codebook.clone())  # m of the appendix

    @property
    def codebook_size(self) -> int:
        return len(self.codebook)

    def entries(self) -> Tensor:
        return self.codebook

    def at(self, indices: Tensor) -> Tensor:
        return self.codebook[indices]

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Set the entries to the k-means of features (N, d)."""
        self._place(torch.arange(self.codebook_size), k_means(features, self.codebook_size))

    def saw(self, rows: Tensor, indices: Tensor) -> None:
        self.seen.add(rows, indices)

    @torch.no_grad()
    def after_step(self, kept: bool) -> None:
        """Update the averages by equations 6 to 8, over the features of all processes."""
        seen = self.seen.take()
        if not (kept and seen):
            return
        rows, indices = seen
        counts = torch.zeros_like(self.counts).index_add_(
            0, indices, torch.ones_like(indices, dtype=torch.float32)
        )
        sums = torch.zeros_like(self.sums).index_add_(0, indices, rows)
        self.counts.lerp_(sum_over_processes(counts), 1 - DECAY)
        self.sums.lerp_(sum_over_processes(sums), 1 - DECAY)
        total = self.counts.sum()
        smooth = (self.counts + SMOOTHING) / (total + self.codebook_size * SMOOTHING) * total
        self.codebook.copy_(self.sums / smooth[:, None])
        moved = self.dead_codes.restart(self.codebook, rows, indices)
        self._place(moved, self.codebook[moved])

    def _place(self, rows: Tensor, entries: Tensor) -> None:
        self.codebook[rows], self.sums[rows], self.counts[rows] = entries, entries, 1.0
