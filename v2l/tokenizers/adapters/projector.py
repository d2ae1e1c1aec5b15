"""patch features ──► one soft token for each patch, or for each field of patches, by a small network.

Source: LLaVA-1.5, arXiv 2310.03744, section 3.2: two linear layers with GELU between them.
"""

from __future__ import annotations

from math import isqrt

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d


class Projector(nn.Module):
    """A two-layer network over patches.

    Args:
        dim: D, width of the features.
        width: of the LLM's input embeddings, and of the hidden layer.
        tokens: N, a square number: patches are averaged in √N × √N fields.
    """

    def __init__(self, dim: int, width: int, tokens: int) -> None:
        super().__init__()
        self.side = isqrt(tokens)
        self.layers = nn.Sequential(
            nn.LayerNorm(dim), nn.Linear(dim, width), nn.GELU(), nn.Linear(width, width)
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, h, w, D) ──► (B, N, width), tokens in raster order."""
        soft: Tensor = self.layers(pool_fields(features, self.side))
        return soft


def pool_fields(features: Tensor, side: int) -> Tensor:
    """(B, h, w, D) ──► (B, side · side, D): the mean of each field of patches; fields overlap if h < side."""
    fields = adaptive_avg_pool2d(features.movedim(-1, 1), side)
    return fields.flatten(2).transpose(1, 2)
