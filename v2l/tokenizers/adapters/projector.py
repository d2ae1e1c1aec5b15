"""patch features ──► one soft token for each patch, or for each field of patches.

A linear map runs beside a small network, LLaVA-1.5's two layers with GELU between them (arXiv 2310.03744,
section 3.2). The linear map is fitted before training: from words in the joint space to the LLM's input
embeddings of the same words. Because images lie in the joint space, too, soft tokens begin near the words of
their patches, and training goes on from there. The fit is ours.
"""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

RIDGE = 1e-3  # of the mean square of the inputs; keeps the fit finite with few words


class Projector(nn.Module):
    """A linear map and a two-layer network over patches, added.

    The network's last layer starts at zero.

    Args:
        dim: D, width of the features.
        width: of the LLM's input embeddings, and of the hidden layer.
        tokens: N, a square number: patches are averaged in √N × √N fields.
    """

    def __init__(self, dim: int, width: int, tokens: int) -> None:
        super().__init__()
        self.side = isqrt(tokens)
        self.linear = nn.Linear(dim, width)
        last = nn.Linear(width, width)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, width), nn.GELU(), last)

    def forward(self, features: Tensor) -> Tensor:
        """(B, h, w, D) ──► (B, N, width), tokens in raster order."""
        fields = pool_fields(features, self.side)
        soft: Tensor = self.linear(fields) + self.layers(fields)
        return soft

    @torch.no_grad()
    def fit(self, vectors: Tensor, targets: Tensor) -> None:
        """Set the linear map by ridge regression.

        Args:
            vectors: (V, D), words in the joint space.
            targets: (V, width), what the map gives for them.
        """
        mean, goal = vectors.double().mean(dim=0), targets.double().mean(dim=0)
        inputs, outputs = vectors.double() - mean, targets.double() - goal
        square = inputs.T @ inputs
        square += RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
        weight = torch.linalg.solve(square, inputs.T @ outputs)  # (D, width)
        self.linear.weight.copy_(weight.T)
        self.linear.bias.copy_(goal - mean @ weight)


def pool_fields(features: Tensor, side: int) -> Tensor:
    """(B, h, w, D) ──► (B, side · side, D): the mean of each field of patches; fields overlap if h < side."""
    fields = adaptive_avg_pool2d(features.movedim(-1, 1), side)
    return fields.flatten(2).transpose(1, 2)
