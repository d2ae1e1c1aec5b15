"""features ──► indices of the nearest codebook entries: the interface of all quantizers.

Source: VQ-VAE, arXiv 1711.00937, equations 1 to 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

# Bytes of scores that are computed at once: so many stay in the cache of one processor core.
CHUNK_BYTES = 2**20
GPU_CHUNK_BYTES = 2**28  # large enough to occupy a GPU
FEATURES = 256  # features that are compared at once
BLOCK = 64  # entries of one block: first the best block of each feature is found, then the best entry in it


class Quantized(NamedTuple):
    """The result of `Quantizer.forward`."""

    quantized: Tensor  # (B, d, h, w) entries; straight-through gradient to the features
    indices: Tensor  # (B, h, w) int64 in [0, V)
    loss: Tensor  # () float32, weighted sum of the commitment and codebook terms
    terms: dict[str, Tensor]  # both terms by name, () float32, unweighted and without gradient


class Quantizer(nn.Module, ABC):
    """Base class of vector quantizers: replaces each feature by its nearest codebook entry.

    Args:
        commitment_weight: weight of the loss that moves features towards their entries.
        codebook_weight: weight of the loss that moves entries towards their features.
    """

    def __init__(self, commitment_weight: float = 1.0, codebook_weight: float = 0.33) -> None:
        super().__init__()
        self.commitment_weight, self.codebook_weight = commitment_weight, codebook_weight

    @property
    @abstractmethod
    def codebook_size(self) -> int:
        """V, the number of entries."""

    @abstractmethod
    def entries(self) -> Tensor:
        """All entries in the space of the features: (V, d) float32, without gradient."""

    @abstractmethod
    def at(self, indices: Tensor) -> Tensor:
        """Indices (…) int64 ──► entries (…, d), with gradient to the trained parameters."""

    @abstractmethod
    def fit(self, features: Tensor) -> None:
        """Initialize the entries from features.

        Args:
            features: (N, d) float32, N much larger than d.
        """

    def rows(self, features: Tensor) -> Tensor:
        """Features (…, d) float32 in the space of the entries; unchanged by default."""
        return features

    def saw(self, rows: Tensor, indices: Tensor) -> None:
        """Keep features (N, d) and their indices (N,) for `after_step`; called in training only."""

    def after_step(self, kept: bool) -> None:
        """Update state that no optimizer trains, such as moving averages; called once per step.

        Args:
            kept: whether the optimizer made the step; features of a skipped step are discarded.
        """

    def forward(self, features: Tensor) -> Quantized:
        """Features (B, d, h, w) ──► nearest entries, their indices and the loss, in float32.

        The loss is equation 3 of VQ-VAE without its reconstruction term, and with two weights:
        commitment · mean (sg(z_q) - z)² + codebook · mean (z_q - sg(z))².
        """
        with torch.autocast(features.device.type, enabled=False):
            rows = self.rows(features.float().movedim(1, -1))  # (B, d, h, w) → (B, h, w, d)
            vectors = rows.detach().reshape(-1, rows.shape[-1])
            indices = nearest(vectors, self.entries()).view(rows.shape[:-1])
            if self.training:
                self.saw(vectors, indices.flatten())
            entries = self.at(indices)  # (B, h, w, d)
            commitment = (entries.detach() - rows).square().mean()
            codebook = (entries - rows.detach()).square().mean()
            straight_through = rows + (entries - rows).detach()
            loss = self.commitment_weight * commitment + self.codebook_weight * codebook
            terms = {"commitment": commitment.detach(), "codebook": codebook.detach()}
            return Quantized(straight_through.movedim(-1, 1), indices, loss, terms)

    def lookup(self, indices: Tensor) -> Tensor:
        """Indices (B, h, w) int64 in [0, V) ──► entries (B, d, h, w) float32, without gradient."""
        return self.entries()[indices].movedim(-1, 1)


@torch.no_grad()
def nearest(features: Tensor, entries: Tensor) -> Tensor:
    """Find the nearest entry of each feature by Euclidean distance, with bounded memory.

    Args:
        features: (N, d) float32.
        entries: (V, d) float32.

    Returns:
        (N,) int64 in [0, V); the lowest index among entries at equal distance.
    """
    # |z - e|² = |z|² - 2 (z·e - |e|²/2), and |z|² is the same for every entry. The bias is one more column.
    rows = torch.cat([features, features.new_ones(len(features), 1)], dim=1)  # (N, d + 1)
    blocks = _blocks_with_bias(entries)  # (V / BLOCK, BLOCK, d + 1)
    found = [_nearest_of(part, blocks) for part in rows.split(FEATURES)]
    return torch.cat(found) if found else features.new_empty(0, dtype=torch.int64)


def _blocks_with_bias(entries: Tensor) -> Tensor:
    """(V, d) ──► (V / BLOCK, BLOCK, d + 1): the bias behind each entry; -inf behind those that fill up."""
    bias = -0.5 * entries.square().sum(dim=-1, keepdim=True)
    missing = -len(entries) % BLOCK
    columns = [pad(entries, (0, 0, 0, missing)), pad(bias, (0, 0, 0, missing), value=-torch.inf)]
    return torch.cat(columns, dim=1).view(-1, BLOCK, entries.shape[1] + 1)


def _nearest_of(rows: Tensor, blocks: Tensor) -> Tensor:
    """Features (n, d + 1) and blocks of entries ──► (n,) int64, the first entry with the best score."""
    budget = CHUNK_BYTES if rows.device.type == "cpu" else GPU_CHUNK_BYTES
    count = max(1, budget // (4 * BLOCK * len(rows)))  # blocks at once
    # Entries × features: a maximum over the first dimension is computed for many features at the same time.
    scores = [
        (part.flatten(0, 1) @ rows.T).view(-1, BLOCK, len(rows)).amax(dim=1) for part in blocks.split(count)
    ]
    best = torch.cat(scores).max(dim=0).indices  # (n,) blocks
    within = (blocks[best] @ rows.unsqueeze(-1)).squeeze(-1)  # (n, BLOCK)
    return best * BLOCK + within.max(dim=-1).indices
