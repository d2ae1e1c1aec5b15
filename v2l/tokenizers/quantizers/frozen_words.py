"""features ──► words of a frozen codebook: the nearest projected text embedding of each grid cell.

Frozen: the text embeddings of the words. Trained: their projection. Source: V2L Tokenizer, arXiv 2403.07874,
section 3.2. Quantizers with a learned codebook are in vq.py and ema_vq.py.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from v2l.tokenizers.quantizers.base import Quantizer, nearest

# Of `settle`: number of steps, learning rate for features of standard deviation 1, and batch size.
SETTLING_STEPS, SETTLING_RATE, SETTLING_FEATURES = 400, 2e-3, 2048


class BentProjection(nn.Linear):
    """(V, D) ──► (V, d): a linear projection plus an MLP with one hidden layer.

    The output of the MLP is 0 at the start of training.
    The MLP is needed because text embeddings are nearly normally distributed, and image features are not. A
    linear projection cannot change the shape of the distribution.
    """

    def __init__(self, width_in: int, width_out: int, hidden: int = 256) -> None:
        super().__init__(width_in, width_out)
        # Their order fixes the random weights of a seed.
        first, last = nn.Linear(width_in, hidden), nn.Linear(hidden, width_out)
        self.bend = nn.Sequential(first, nn.GELU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.scale = width_in**0.5  # components of unit vectors are about width_in^-1/2

    def forward(self, words: Tensor) -> Tensor:
        bent: Tensor = self.bend(words * self.scale)
        return super().forward(words) + bent


PROJECTIONS = {"linear": nn.Linear, "bent": BentProjection}


class LocalQuantizer(Quantizer):
    """A codebook of frozen text embeddings, followed by a trained projection.

    Args:
        embeddings: (V, D) text embeddings of the words; kept in float32, not trained, not saved with the
            weights.
        lookup_dim: d, the width of features and projected entries.
        commitment_weight: weight of the loss that moves features towards their entries.
        codebook_weight: weight of the loss that moves projected entries towards their features; it trains the
            projection only.
        projection: `linear` as in the paper, or `bent` (`BentProjection`).
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
        """The projected codebook, (V, d) float32, without gradient.

        It is cached until a parameter of the projection changes. Parameters that were made in inference mode
        have no version; they are not trained.
        """
        parameters = self.projection.parameters()
        version = tuple(0 if one.is_inference() else one._version for one in parameters)
        if (
            self._cache is None
            or self._cache[0] != version
            or self._cache[1].device != self.embeddings.device
        ):
            self._cache = None  # frees the old entries before the new ones are computed
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
        """Match mean and covariance of the projected codebook to the features, in closed form.

        Then few entries are dead at the first step. The first d principal components of the centred text
        embeddings are whitened. They are then scaled and rotated to the target covariance. The target is the
        covariance of the features, minus the distortion of the best code with V entries. This distortion is
        the same in every coded direction (reverse water-filling; Cover and Thomas, Elements of Information
        Theory, section 10.3.3).

        Args:
            features: (N, d) float32, N much larger than d.
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
        # (d, D): the first component of the words becomes the first one of the features, and so on.
        weight = (whiten * kept.flip(0).sqrt() @ axes.flip(1).T).T
        self.projection.weight.copy_(weight)
        self.projection.bias.copy_(features.mean(dim=0) - weight @ centre)

    def settle(self, features: Tensor, steps: int = SETTLING_STEPS) -> None:
        """Train the projection alone to minimize the distance of features to their entries.

        This is Lloyd's algorithm (k-means) by gradient descent, because the projection moves all entries
        together.

        Args:
            features: (N, d) float32; each step draws `SETTLING_FEATURES` of them.
            steps: number of steps of Adam; the learning rate falls linearly to 0.
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
    """The distortion per coded direction of the best code of a normal distribution.

    Source: reverse water-filling, see `LocalQuantizer.fit_projection`.

    Args:
        variances: (d,) variances along the principal axes, in any order.
        bits: bits per vector, above 0.

    Returns:
        the variance that is lost in each direction whose variance is larger than that.
    """
    low, high = 0.0, variances.max().item()
    for _ in range(60):  # bisection, because more distortion needs fewer bits
        middle = (low + high) / 2
        needed = 0.5 * torch.log2((variances / middle).clamp(min=1)).sum().item()
        low, high = (middle, high) if needed > bits else (low, middle)
    return high
