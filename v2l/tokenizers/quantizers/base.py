"""features ──► rows of a codebook: the nearest entry, and what every quantizer promises.

Source: VQ-VAE, arXiv 1711.00937, equations 1 to 3.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

CHUNK_BYTES = 16 * 2**20  # of distances held at once: they stay in a processor's cache
BLOCK = 64  # entries whose best one is looked for at once


class Quantized(NamedTuple):
    """What every quantizer gives."""

    quantized: Tensor  # (B, d, h, w) straight-through: the gradient reaches the encoder
    indices: Tensor  # (B, h, w) int64 in [0, V)
    loss: Tensor  # () float32, codebook and commitment terms, already weighted
    terms: dict[str, Tensor]  # the same two by name, unweighted and without gradient


class Quantizer(nn.Module, ABC):
    """Features ──► their nearest entries.

    Args:
        commitment_weight: pull of the features to their entry.
        codebook_weight: pull of the entries to their features.
    """

    def __init__(self, commitment_weight: float = 1.0, codebook_weight: float = 0.33) -> None:
        super().__init__()
        self.commitment_weight, self.codebook_weight = commitment_weight, codebook_weight

    @property
    @abstractmethod
    def codebook_size(self) -> int:
        """V."""

    @abstractmethod
    def entries(self) -> Tensor:
        """The whole codebook as features are compared with it, (V, d) float32 without gradient."""

    @abstractmethod
    def at(self, indices: Tensor) -> Tensor:
        """Entries (…, d) of rows (…) int64, with the gradient of whatever of them is trained."""

    @abstractmethod
    def fit(self, features: Tensor) -> None:
        """Put the entries where features are, before training goes on: (N, d) float32, N well above d."""

    def rows(self, features: Tensor) -> Tensor:
        """Features (…, d) float32 as they are compared with the entries."""
        return features

    def saw(self, rows: Tensor, indices: Tensor) -> None:
        """While training: keep features (N, d) without gradient and the rows (N,) that they chose."""

    def after_step(self, kept: bool) -> None:
        """Update what no optimizer trains, from the features since the last call; called once a step.

        Args:
            kept: whether the step was made; a step that was skipped teaches nothing.
        """

    def forward(self, features: Tensor) -> Quantized:
        """(B, d, h, w) ──► the nearest entries, their rows, and the weighted loss, all in float32.

        Equation 3 of VQ-VAE with both weights named:
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
        """Rows of the codebook, (B, h, w) int64 in [0, V) ──► their entries (B, d, h, w)."""
        return self.entries()[indices].movedim(-1, 1)


@torch.no_grad()
def nearest(features: Tensor, entries: Tensor) -> Tensor:
    """The nearest entry of each feature by Euclidean distance, in bounded memory.

    Args:
        features: (N, d) float32.
        entries: (V, d) float32.

    Returns:
        (N,) int64 in [0, V); on a tie the lowest.
    """
    # |z - e|² = |z|² - 2 (z·e - |e|²/2): the first part is the same for every entry.
    bias = torch.cat(
        [
            -0.5 * part.square().sum(dim=-1)
            for part in entries.split(max(1, CHUNK_BYTES // (4 * entries.shape[1])))
        ]
    )
    width = -(-len(entries) // BLOCK) * BLOCK
    count = max(1, CHUNK_BYTES // (4 * width))
    scores = features.new_full((min(count, len(features)), width), -torch.inf)
    return torch.cat(
        [
            _first_of_the_largest(_filled(scores[: len(part)], part, entries, bias))
            for part in features.split(count)
        ]
    )


def _filled(scores: Tensor, features: Tensor, entries: Tensor, bias: Tensor) -> Tensor:
    """z·e - |e|²/2 for every feature and entry, in place: (n, W); the columns from V on are not changed."""
    torch.mm(features, entries.T, out=scores[:, : len(entries)]).add_(bias)
    return scores


def _first_of_the_largest(scores: Tensor) -> Tensor:
    """(n, W) ──► (n,) columns, block by block, because `max` with indices over W is slower than `amax`."""
    blocks = scores.view(len(scores), scores.shape[1] // BLOCK, BLOCK)
    best = blocks.amax(dim=-1).max(dim=-1).indices
    within = blocks[torch.arange(len(scores), device=scores.device), best].max(dim=-1).indices
    return best * BLOCK + within
