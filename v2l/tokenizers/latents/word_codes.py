"""latents ──► words: the grid tokenizer's projected words, moved to the latents by one linear map.

Frozen: the words and their projection, as the grid tokenizer was trained with them. Fitted in closed form,
then frozen: the map, so that mean and covariance of the entries are those of the latents.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from v2l.tokenizers.quantizers.base import Quantizer
from v2l.tokenizers.quantizers.frozen_words import lost_variance

LEAST = 1e-4  # of the largest variance: a coded direction has at least so much


class WordQuantizer(Quantizer):
    """A codebook of frozen entries behind a fitted linear map.

    Args:
        words: (V, d) float32 the projected words of the grid tokenizer; not saved with the weights.
        commitment_weight: weight of the loss that moves latents towards their entries.
    """

    words: Tensor
    map: Tensor
    shift: Tensor

    def __init__(self, words: Tensor, commitment_weight: float = 0.25) -> None:
        super().__init__(commitment_weight, codebook_weight=0.0)
        self.register_buffer("words", words.float(), persistent=False)
        self.register_buffer("map", torch.eye(words.shape[1]))
        self.register_buffer("shift", torch.zeros(words.shape[1]))

    @property
    def codebook_size(self) -> int:
        return len(self.words)

    def entries(self) -> Tensor:
        return self.words @ self.map.T + self.shift

    def at(self, indices: Tensor) -> Tensor:
        return self.words[indices] @ self.map.T + self.shift

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Match mean and covariance of the entries to features (N, d).

        The target is the covariance minus the distortion of the best code with so many entries, as in
        `LocalQuantizer.fit_projection`.
        """
        variances, axes = torch.linalg.eigh(torch.cov(features.T))
        lost = lost_variance(variances, math.log2(self.codebook_size))
        kept = (variances - lost).clamp(min=LEAST * float(variances.max()))
        own_variances, own_axes = torch.linalg.eigh(torch.cov(self.words.T))
        whiten = own_axes / own_variances.clamp(min=1e-12).sqrt()  # (d, d), the smallest variance first
        self.map.copy_(axes * kept.sqrt() @ whiten.T)
        self.shift.copy_(features.mean(dim=0) - self.map @ self.words.mean(dim=0))
