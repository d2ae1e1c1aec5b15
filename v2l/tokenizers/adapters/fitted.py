"""fields of patches ──► soft tokens, by two maps that are there before any training.

    the field in the joint space ─► mixture of the words of a codebook ────────┐
    the field's features ─► linear, fitted to the words of training captions ──┴─► soft token

The first map is what the frozen encoder knows of every word: images and words lie in one space. The second
begins with what the training images show beyond that, because features know more of an image than its place
in the joint space. Both are ours; the networks that are added to them are published.
"""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, normalize

from v2l.tokenizers.adapters.model import AdapterSettings, SoftTokenizer

MIXED = 1024  # vectors that are mixed at a time
SHARPNESS = 0.02  # of the shares of a mixture; chosen on images of Caltech-101's train part


class WordMixture(nn.Module):
    """A vector of the joint space ──► the mean of all words' embeddings by nearness; nothing is trained.

    The share of word w is the softmax of cosine / `SHARPNESS` over all words.

    Args:
        words: W.
        dim: D, width of the joint space.
        width: of the LLM's input embeddings.

    Attributes:
        places: (W, D), the words in the joint space, of norm 1.
        embeddings: (W, width), what the LLM reads for them.
    """

    places: Tensor
    embeddings: Tensor

    def __init__(self, words: int, dim: int, width: int) -> None:
        super().__init__()
        self.register_buffer("places", torch.zeros(words, dim))
        self.register_buffer("embeddings", torch.zeros(words, width))

    def learn(self, places: Tensor, embeddings: Tensor) -> None:
        """Take the words: (W, D) in the joint space, and (W, width) what the LLM reads for them."""
        self.places.copy_(normalize(places.float(), dim=-1))
        self.embeddings.copy_(embeddings)

    def forward(self, near: Tensor) -> Tensor:
        """(…, D) ──► (…, width), some rows at a time, because each has W shares."""
        rows = normalize(near.reshape(-1, near.shape[-1]), dim=-1)
        mixed = [self._mix(some) for some in rows.split(MIXED)]
        return torch.cat(mixed).view(*near.shape[:-1], -1)

    def _mix(self, rows: Tensor) -> Tensor:
        """(n, D) of norm 1 ──► (n, width)."""
        shares = (rows @ self.places.T / SHARPNESS).softmax(dim=-1)
        return shares @ self.embeddings


class FittedMaps(nn.Module):
    """A mixture of words and a linear map, added; the linear map starts at zero.

    Args:
        settings: sizes of the adapter.
    """

    def __init__(self, settings: AdapterSettings) -> None:
        super().__init__()
        self.from_joint = WordMixture(settings.words, settings.dim, settings.width)
        self.from_features = nn.Linear(settings.channels, settings.width)
        start_at_zero(self.from_features)

    def fitted(self, fields: Tensor, near: Tensor) -> Tensor:
        """Fields (B, N, C), and the same in the joint space (B, N, D) ──► (B, N, width)."""
        soft: Tensor = self.from_joint(near) + self.from_features(fields)
        return soft


class FittedTokenizer(SoftTokenizer):
    """An adapter whose soft tokens begin as fitted maps of the fields of an image."""

    network: FittedMaps

    def fields(self, features: Tensor) -> Tensor:
        """Patch features (B, h, w, C) ──► the means of √N × √N fields, (B, N, C)."""
        return pool_fields(features.to(self.device).float(), isqrt(self.adapter.tokens))

    def soft_tokens(self, features: Tensor, added: Tensor) -> Tensor:
        """Patch features (B, h, w, C), and what a network adds to their maps ──► (B, N, width)."""
        fields = self.fields(features)
        soft: Tensor = (self.network.fitted(fields, self.joint(fields)) + added) * self.adapter.scale
        return soft

    @torch.no_grad()
    def joint(self, fields: Tensor) -> Tensor:
        """Fields (B, N, C) ──► the same in the joint space, (B, N, D)."""
        return self.joint_encoder.to_joint_space(fields).to(fields)


def pool_fields(features: Tensor, side: int) -> Tensor:
    """(B, h, w, C) ──► (B, side · side, C): the mean of each field of patches; fields overlap if h < side."""
    fields = adaptive_avg_pool2d(features.movedim(-1, 1), side)
    return fields.flatten(2).transpose(1, 2)


def start_at_zero(layer: nn.Module) -> None:
    """Set the weights and the bias of a linear layer to zero, so that what it is added to is the start."""
    assert isinstance(layer, nn.Linear)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
