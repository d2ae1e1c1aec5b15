"""features ──► tokens: each grid cell takes its nearest codebook entry.

Frozen: the codebook's text embeddings. Trained: their projection. Sources: VQ-VAE, arXiv 1711.00937, equations 1 to 3;
V2L Tokenizer, arXiv 2403.07874, section 3.2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

CHUNK_BYTES = 64 * 2**20  # of distances held at once


class Quantized(NamedTuple):
    """What every quantizer gives."""

    quantized: Tensor  # (B, d, h, w) straight-through: the gradient reaches the encoder
    indices: Tensor  # (B, h, w) int64 in [0, V)
    loss: Tensor  # () float32, codebook and commitment terms, already weighted


@torch.no_grad()
def nearest(features: Tensor, entries: Tensor) -> Tensor:
    """The nearest entry of each feature by Euclidean distance, in bounded memory.

    Args:
        features: (N, d) float32.
        entries: (V, d) float32.

    Returns:
        (N,) int64 in [0, V); on a tie the lowest.
    """
    # |z - e|² = |z|² - 2 (z·e - |e|²/2): the first part is the same for every entry, the second one product with a column more.
    rows = torch.cat([entries, -0.5 * entries.square().sum(dim=-1, keepdim=True)], dim=-1)
    chunk = max(1, CHUNK_BYTES // (4 * len(entries)))
    ones = features.new_ones(len(features), 1)
    return torch.cat([(part @ rows.T).argmax(dim=-1) for part in torch.cat([features, ones], dim=-1).split(chunk)])


class LocalQuantizer(nn.Module):
    """The frozen text codebook behind a trained linear projection.

    Args:
        embeddings: (V, D) the words' vectors; kept in float32, never trained, never saved with the weights.
        lookup_dim: d, width in which features and entries are compared.
        commitment_weight: pull of the features to their entry.
        codebook_weight: pull of the projected entries to their features; trains the projection only.
    """

    def __init__(self, embeddings: Tensor, lookup_dim: int, commitment_weight: float = 1.0, codebook_weight: float = 0.33) -> None:
        super().__init__()
        self.commitment_weight, self.codebook_weight = commitment_weight, codebook_weight
        self.register_buffer("embeddings", embeddings.float(), persistent=False)
        self.projection = nn.Linear(embeddings.shape[1], lookup_dim)
        nn.init.normal_(self.projection.weight, std=embeddings.shape[1] ** -0.5)
        nn.init.zeros_(self.projection.bias)
        self._cache: tuple[tuple[int, int], Tensor] | None = None

    @property
    def codebook_size(self) -> int:
        """V."""
        return len(self.embeddings)

    def entries(self) -> Tensor:
        """The projected codebook, (V, d) float32 without gradient; computed again only when the projection has changed."""
        version = (self.projection.weight._version, self.projection.bias._version)
        if self._cache is None or self._cache[0] != version or self._cache[1].device != self.embeddings.device:
            with torch.no_grad(), torch.autocast(self.embeddings.device.type, enabled=False):
                self._cache = (version, self.projection(self.embeddings))
        return self._cache[1]

    def forward(self, features: Tensor) -> Quantized:
        """(B, d, h, w) ──► the nearest entries, their rows, and the weighted loss, all in float32.

        Equation 3 of VQ-VAE with both weights named: commitment · mean (sg(z_q) - z)² + codebook · mean (z_q - sg(z))².
        """
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            rows = features.movedim(1, -1)  # (B, d, h, w) → (B, h, w, d)
            indices = nearest(rows.reshape(-1, rows.shape[-1]), self.entries()).view(rows.shape[:-1])
            entries = self.projection(self.embeddings[indices])  # (B, h, w, d): the gradient reaches the projection
            commitment = (entries.detach() - rows).square().mean()
            codebook = (entries - rows.detach()).square().mean()
            straight_through = rows + (entries - rows).detach()
            loss = self.commitment_weight * commitment + self.codebook_weight * codebook
            return Quantized(straight_through.movedim(-1, 1), indices, loss)

    def lookup(self, indices: Tensor) -> Tensor:
        """Rows of the codebook, (B, h, w) int64 in [0, V) ──► their projected entries (B, d, h, w)."""
        return self.entries()[indices].movedim(-1, 1)

    @torch.no_grad()
    def fit_projection(self, features: Tensor) -> None:
        """Give the projected codebook the mean and covariance of the features, so that entries lie where features are.

        Principal components of the centred words, whitened, then coloured as the features: every entry is in reach from the
        first step on, and few are dead.

        Args:
            features: (N, d) float32, N well above d.
        """
        width = features.shape[1]
        centre = self.embeddings.mean(dim=0)
        _, _, directions = torch.linalg.svd((self.embeddings - centre).float(), full_matrices=False)
        components = (self.embeddings - centre) @ directions[:width].T  # (V, d)
        whiten = directions[:width].T / components.std(dim=0)  # (D, d)
        colour = torch.linalg.cholesky(torch.cov(features.T) + 1e-6 * torch.eye(width, device=features.device))
        weight = (whiten @ colour.T).T  # (d, D)
        self.projection.weight.copy_(weight)
        self.projection.bias.copy_(features.mean(dim=0) - weight @ centre)
