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
BLOCK = 64  # entries in one block of the two-step maximum
GATHERED = 8  # copied blocks of entries may take so many times the budget


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
    # |z - e|² = |z|² - 2 (z·e - |e|²/2), and |z|² is the same for every entry.
    budget = CHUNK_BYTES if features.device.type == "cpu" else GPU_CHUNK_BYTES
    squares = [part.square().sum(dim=-1) for part in entries.split(max(1, budget // (4 * entries.shape[1])))]
    bias = -0.5 * torch.cat(squares)  # (V,)
    found = [_nearest_of(part, entries, bias, budget) for part in features.split(FEATURES)]
    return torch.cat(found) if found else features.new_empty(0, dtype=torch.int64)


def _nearest_of(features: Tensor, entries: Tensor, bias: Tensor, budget: int) -> Tensor:
    """As `nearest`, for few features (n, d): first the best block of entries, then the best entry in it."""
    count = BLOCK * max(1, budget // (4 * BLOCK * len(features)))  # entries at once
    parts = zip(entries.split(count), bias.split(count), strict=True)
    # Entries × features: a maximum over entries is then computed for many features at the same time.
    maxima = [_block_maxima(torch.addmm(below[:, None], part, features.T)) for part, below in parts]
    best = torch.cat(maxima).max(dim=0).indices  # (n,) blocks
    places = best[:, None] * BLOCK + torch.arange(BLOCK, device=best.device)  # (n, BLOCK)
    places = places.clamp(max=len(entries) - 1)  # the last block may be shorter: its last entry is repeated
    few = max(
        1, GATHERED * budget // (4 * BLOCK * entries.shape[1])
    )  # features whose blocks are copied at once
    scores = [
        bias[rows] + (entries[rows] @ part[:, :, None])[:, :, 0]
        for rows, part in zip(places.split(few), features.split(few), strict=True)
    ]
    return places.gather(1, torch.cat(scores).max(dim=1, keepdim=True).indices)[:, 0]


def _block_maxima(scores: Tensor) -> Tensor:
    """Scores (W, n) ──► (W / BLOCK, n), the highest of each block; the last block may be shorter."""
    missing = -len(scores) % BLOCK
    return pad(scores, (0, 0, 0, missing), value=-torch.inf).view(-1, BLOCK, scores.shape[1]).amax(dim=1)
