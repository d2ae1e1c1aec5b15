"""fields of patches ──► soft tokens, by two linear maps that ridge regression fits before any training.

    the field in the joint space ─► linear, fitted to the words of a codebook ─┐
    the field's features ─► linear, fitted to the words of training captions ──┴─► soft token

The first map begins with what the frozen encoder knows of every word: images and words lie in one space. The
second begins with what the training images show beyond that, because features know more of an image than its
place in the joint space. The fits are ours; the networks that are added to them are published.
"""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from v2l.tokenizers.adapters.model import SoftTokenizer


class FittedMaps(nn.Module):
    """Two linear maps, added; the second starts at zero.

    Args:
        dim: D, width of the joint space.
        channels: C, width of the features.
        width: of the LLM's input embeddings.
    """

    def __init__(self, dim: int, channels: int, width: int) -> None:
        super().__init__()
        self.from_joint, self.from_features = nn.Linear(dim, width), nn.Linear(channels, width)
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

    @torch.no_grad()
    def joint(self, fields: Tensor) -> Tensor:
        """Fields (B, N, C) ──► the same in the joint space, (B, N, D)."""
        return self.joint_encoder.to_joint_space(fields).to(fields)


def pool_fields(features: Tensor, side: int) -> Tensor:
    """(B, h, w, C) ──► (B, side · side, C): the mean of each field of patches; fields overlap if h < side."""
    fields = adaptive_avg_pool2d(features.movedim(-1, 1), side)
    return fields.flatten(2).transpose(1, 2)


def start_at_zero(layer: nn.Linear) -> None:
    """Set the weights and the bias of a layer to zero, so that what it is added to is the start."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
