"""unused codebook entries ──► entries at features: random restarts.

Source: random restarts as in Jukebox, arXiv 2005.00341, section 3.1. Usage is counted over all processes.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn


class Seen:
    """A buffer for the features of one training step and their indices.

    A step may consist of several parts (gradient accumulation), which are added one by one.
    """

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, Tensor]] = []

    def add(self, rows: Tensor, indices: Tensor) -> None:
        """Add features (N, d) and their indices (N,)."""
        self._parts.append((rows, indices))

    def take(self) -> tuple[Tensor, Tensor] | None:
        """Empty the buffer; returns its features (N, d) and indices (N,), or None if it was empty."""
        parts, self._parts = self._parts, []
        return (
            (torch.cat([rows for rows, _ in parts]), torch.cat([indices for _, indices in parts]))
            if parts
            else None
        )


class DeadCodes(nn.Module):
    """Replaces codebook entries that no feature has used for a number of steps.

    Args:
        size: V, the number of entries.
        restart_after: number of steps without use before an entry is replaced; 0 means never.
    """

    idle: Tensor

    def __init__(self, size: int, restart_after: int) -> None:
        super().__init__()
        self.restart_after = restart_after
        self.register_buffer("idle", torch.zeros(size, dtype=torch.int64))

    @torch.no_grad()
    def restart(self, codebook: Tensor, rows: Tensor, indices: Tensor) -> Tensor:
        """Replace dead codes by random features of this step, equally in every process.

        Args:
            codebook: (V, d) float32, changed in place.
            rows: (N, d) float32 features.
            indices: (N,) int64 indices of their nearest entries.

        Returns:
            (M,) int64 indices of the entries that were replaced.
        """
        chosen = torch.zeros_like(self.idle).index_fill_(0, indices, 1)
        self.idle.add_(1).masked_fill_(sum_over_processes(chosen) > 0, 0)
        dead = (
            (self.idle >= self.restart_after).nonzero().flatten()
            if self.restart_after
            else self.idle.new_empty(0)
        )
        if len(dead):
            codebook[dead] = from_first_process(rows[torch.randint(len(rows), (len(dead),)).to(rows.device)])
            self.idle[dead] = 0
        return dead


def sum_over_processes(values: Tensor) -> Tensor:
    """Sum a tensor over all processes of the run, in place."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(values)
    return values


def from_first_process(values: Tensor) -> Tensor:
    """Copy the tensor of the first process to every process."""
    if distributed.is_available() and distributed.is_initialized():
        values = values.contiguous()
        distributed.broadcast(values, 0)
    return values
