"""features ──► tokens: each grid cell takes its nearest word.

Frozen: the codebook's text embeddings. Trained: their projection. Sources: V2L Tokenizer, arXiv 2403.07874,
section 3.2; the other
quantizers of the field are in vq.py and ema_vq.py, behind the same contract.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from v2l.tokenizers.quantizers.base import Quantizer, nearest

SETTLING_STEPS, SETTLING_RATE, SETTLING_FEATURES = 400, 2e-3, 2048  # the rate is for features of unit spread


class BentProjection(nn.Linear):
    """(V, D) ──► (V, d): a linear projection plus a small network of one hidden layer that starts at 0.

    The words' vectors are about normally distributed, and image features are not: the bend puts entries where
    features are.
    """

    def __init__(self, width_in: int, width_out: int, hidden: int = 256) -> None:
        super().__init__(width_in, width_out)
        first, last = nn.Linear(width_in, hidden), nn.Linear(hidden, width_out)  # in this order: random draws
        self.bend = nn.Sequential(first, nn.GELU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.scale = width_in**0.5  # unit vectors have components of about width_in^-1/2

    def forward(self, words: Tensor) -> Tensor:
        bent: Tensor = self.bend(words * self.scale)
        return super().forward(words) + bent


PROJECTIONS = {"linear": nn.Linear, "bent": BentProjection}


class LocalQuantizer(Quantizer):
    """The frozen text codebook behind a trained linear projection.

    Args:
        embeddings: (V, D) the words' vectors; kept in float32, never trained, never saved with the weights.
        lookup_dim: d, width in which features and entries are compared.
        commitment_weight: pull of the features to their entry.
        codebook_weight: pull of the projected entries to their features; trains the projection only.
        projection: `linear`, the paper's, or `bent`.
    """

    embeddings: Tensor

    def __init__(
        self,
        embeddings: Tensor,
        lookup_dim: int,
        commitment_weight: float = 1.0,
        codebook_weight: float = 0.33,
        projection: str = "linear",
    ) -> None:
        super().__init__(commitment_weight, codebook_weight)
        self.register_buffer("embeddings", embeddings.float(), persistent=False)
        self.projection = PROJECTIONS[projection](embeddings.shape[1], lookup_dim)
        nn.init.normal_(self.projection.weight, std=embeddings.shape[1] ** -0.5)
        nn.init.zeros_(self.projection.bias)
        self._cache: tuple[tuple[int, ...], Tensor] | None = None

    @property
    def codebook_size(self) -> int:
        return len(self.embeddings)

    def entries(self) -> Tensor:
        """The projected codebook, (V, d) float32 without gradient; computed again only when the projection
        has changed.
        """
        version = tuple(parameter._version for parameter in self.projection.parameters())
        if (
            self._cache is None
            or self._cache[0] != version
            or self._cache[1].device != self.embeddings.device
        ):
            self._cache = None  # the old entries go before the new ones come
            with torch.no_grad(), torch.autocast(self.embeddings.device.type, enabled=False):
                self._cache = (version, self.projection(self.embeddings))
        return self._cache[1]

    def at(self, indices: Tensor) -> Tensor:
        entries: Tensor = self.projection(self.embeddings[indices])
        return entries

    def fit(self, features: Tensor) -> None:
        self.fit_projection(features)
        self.settle(features)

    @torch.no_grad()
    def fit_projection(self, features: Tensor) -> None:
        """Put the projected codebook where the features are, so that every entry is in reach from the first
        step on, and few are dead.

        Principal components of the centred words, whitened, take the features' mean and the covariance that
        the best code of this size has: that of the features less what it cannot keep, the same in every
        direction (reverse water-filling; Cover and Thomas, Elements of Information Theory, section 10.3.3).

        Args:
            features: (N, d) float32, N well above d.
        """
        width = features.shape[1]
        centre = self.embeddings.mean(dim=0)
        _, _, directions = torch.linalg.svd((self.embeddings - centre).float(), full_matrices=False)
        components = (self.embeddings - centre) @ directions[:width].T  # (V, d)
        whiten = directions[:width].T / components.std(dim=0)  # (D, d)
        variances, axes = torch.linalg.eigh(torch.cov(features.T))
        kept = (variances - lost_variance(variances, math.log2(self.codebook_size))).clamp(
            min=1e-6 * variances.max().item()
        )
        weight = (
            whiten * kept.flip(0).sqrt() @ axes.flip(1).T
        ).T  # (d, D): the words' first component for the features' first
        self.projection.weight.copy_(weight)
        self.projection.bias.copy_(features.mean(dim=0) - weight @ centre)

    def settle(self, features: Tensor, steps: int = SETTLING_STEPS) -> None:
        """Pull the chosen entries to features, and nothing else: Lloyd's algorithm by gradient, since entries
        move only together.

        Args:
            features: (N, d) float32; a random part of them a step.
            steps: of Adam, at a rate that falls to 0.
        """
        rate = SETTLING_RATE * features.std().item()
        optimizer = torch.optim.Adam(self.projection.parameters(), rate)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
            part = features[torch.randint(len(features), (SETTLING_FEATURES,)).to(features.device)]
            optimizer.zero_grad()
            (self.at(nearest(part, self.entries())) - part).square().mean().backward()
            optimizer.step()
        optimizer.zero_grad()


def lost_variance(variances: Tensor, bits: float) -> float:
    """The variance that the best code of so many bits a vector loses in each direction that it codes at all.

    Args:
        variances: (d,) of a normal distribution along its axes, in order or not.
        bits: a vector, above 0.
    """
    low, high = 0.0, variances.max().item()
    for _ in range(60):  # halving: the bits needed fall as the loss rises
        middle = (low + high) / 2
        needed = 0.5 * torch.log2((variances / middle).clamp(min=1)).sum().item()
        low, high = (middle, high) if needed > bits else (low, middle)
    return high
