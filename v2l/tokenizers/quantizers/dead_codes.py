"""codes that nobody chooses ──► codes where features are.

Source: random restarts as in Jukebox, arXiv 2005.00341, section 3.1. Statistics are those of all processes
together.
"""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn


class Seen:
    """The features of one step with the rows that they chose, part by part, until the step is made."""

    def __init__(self) -> None:
        self._parts: list[tuple[Tensor, Tensor]] = []

    def add(self, rows: Tensor, indices: Tensor) -> None:
        """Keep features (N, d) and their rows (N,)."""
        self._parts.append((rows, indices))

    def take(self) -> tuple[Tensor, Tensor] | None:
        """All that was kept, (N, d) and (N,), or None; then it is forgotten."""
        parts, self._parts = self._parts, []
        return (
            (torch.cat([rows for rows, _ in parts]), torch.cat([indices for _, indices in parts]))
            if parts
            else None
        )


class DeadCodes(nn.Module):
    """Counts the steps that each code has not been chosen, and moves codes that have waited too long.

    Args:
        size: V.
        restart_after: steps; 0: no code is moved.
    """

    idle: Tensor

    def __init__(self, size: int, restart_after: int) -> None:
        super().__init__()
        self.restart_after = restart_after
        self.register_buffer("idle", torch.zeros(size, dtype=torch.int64))

    @torch.no_grad()
    def restart(self, codebook: Tensor, rows: Tensor, indices: Tensor) -> Tensor:
        """Put dead codes on features of this step, drawn at random, the same in every process.

        Args:
            codebook: (V, d), changed in place.
            rows: (N, d) features.
            indices: (N,) the codes that they chose.

        Returns:
            (M,) the codes that were moved.
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
    """The sum of a tensor over all processes that were launched together."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(values)
    return values


def from_first_process(values: Tensor) -> Tensor:
    """The first process's tensor, in every process."""
    if distributed.is_available() and distributed.is_initialized():
        values = values.contiguous()
        distributed.broadcast(values, 0)
    return values
