"""fields of patches ──► one soft token for each field.

Three maps are added:

    the field in the joint space ─► linear, fitted to the words of a codebook ─┐
    the field's features ─► linear, fitted to the words of training captions ──┼─► soft token
    the field's features ─► two layers with GELU between them, from zero ──────┘

The first map begins with what the frozen encoder knows of every word: images and words lie in one space. The
second begins with what the training images show beyond that, because features know more of an image than its
place in the joint space. The network is LLaVA-1.5's (arXiv 2310.03744, section 3.2). The two fits are ours.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d


class Projector(nn.Module):
    """Two linear maps and a two-layer network, added.

    All but the first map start at zero.

    Args:
        dim: D, width of the joint space.
        channels: C, width of the features.
        width: of the LLM's input embeddings, and of the hidden layer.
    """

    def __init__(self, dim: int, channels: int, width: int) -> None:
        super().__init__()
        self.from_joint, self.from_features = nn.Linear(dim, width), nn.Linear(channels, width)
        last = nn.Linear(width, width)
        self.layers = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width), nn.GELU(), last)
        for layer in (self.from_features, last):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, fields: Tensor, near: Tensor) -> Tensor:
        """Fields (B, N, C), and the same in the joint space (B, N, D) ──► (B, N, width)."""
        soft: Tensor = self.from_joint(near) + self.from_features(fields) + self.layers(fields)
        return soft


def pool_fields(features: Tensor, side: int) -> Tensor:
    """(B, h, w, C) ──► (B, side · side, C): the mean of each field of patches; fields overlap if h < side."""
    fields = adaptive_avg_pool2d(features.movedim(-1, 1), side)
    return fields.flatten(2).transpose(1, 2)
