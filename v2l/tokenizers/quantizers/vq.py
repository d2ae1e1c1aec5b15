"""features ──► indices of a learned codebook: the baseline whose codes are not words.

Trained: every entry. Sources: VQ-VAE, arXiv 1711.00937, equation 3; VQGAN, arXiv 2012.09841, equation 4.
Comparison by cosine, with entries of unit length: ViT-VQGAN, arXiv 2110.04627, section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from v2l.tokenizers.quantizers.base import Quantizer
from v2l.tokenizers.quantizers.dead_codes import DeadCodes, Seen
from v2l.tokenizers.quantizers.k_means import k_means


class LearnedQuantizer(Quantizer):
    """A codebook that an optimizer trains by gradient descent.

    Args:
        size: V, the number of entries.
        width: d, the width of entries and features.
        commitment_weight: weight of the loss that moves features towards their entries.
        codebook_weight: weight of the loss that moves entries towards their features.
        cosine: compare by cosine; features and entries are scaled to unit length.
        restart_after: number of steps without use before an entry is replaced; 0 means never.
    """

    def __init__(
        self,
        size: int,
        width: int,
        commitment_weight: float = 1.0,
        codebook_weight: float = 0.33,
        cosine: bool = False,
        restart_after: int = 0,
    ) -> None:
        super().__init__(commitment_weight, codebook_weight)
        self.cosine, self.seen = cosine, Seen()
        self.codebook = nn.Parameter(torch.empty(size, width).uniform_(-1 / size, 1 / size))
        self.dead_codes = DeadCodes(size, restart_after)

    @property
    def codebook_size(self) -> int:
        return len(self.codebook)

    @torch.no_grad()
    def entries(self) -> Tensor:
        return self._directed(self.codebook)

    def at(self, indices: Tensor) -> Tensor:
        return self._directed(functional.embedding(indices, self.codebook))

    def rows(self, features: Tensor) -> Tensor:
        return self._directed(features)

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Set the entries to the k-means of features (N, d)."""
        self.codebook.copy_(k_means(features, self.codebook_size))

    def saw(self, rows: Tensor, indices: Tensor) -> None:
        if self.dead_codes.restart_after:
            self.seen.add(rows, indices)

    @torch.no_grad()
    def after_step(self, kept: bool) -> None:
        seen = self.seen.take()
        if kept and seen:
            self.dead_codes.restart(self.codebook, *seen)

    def _directed(self, vectors: Tensor) -> Tensor:
        return functional.normalize(vectors, dim=-1, eps=1e-6) if self.cosine else vectors
