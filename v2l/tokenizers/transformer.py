"""rows of vectors ──► the same rows after reading each other: the blocks that merge and rebuild tokens.

A weight of 0 or 1 for each key says who is read, so a choice of patches has a gradient. Sources: Attention is
all you need, arXiv 1706.03762; attention with such weights: DynamicViT, arXiv 2106.02034, equation 10.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPS = 1e-6  # of the sum of weights, for a query that may read nothing
MOST = 10.0  # of a score that no one reads above those that are read: their gradients stay finite


class WeightedAttention(nn.Module):
    """Attention whose keys have weights.

    Args:
        width: C.
        heads: of C / heads channels each.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor, weights: Tensor) -> Tensor:
        """Queries (B, m, C), keys (B, n, C), weights (B, 1 or m, n) of the keys ──► (B, m, C)."""
        query = self._split(self.query(queries))
        key, value = (self._split(part) for part in self.key_value(keys).chunk(2, dim=-1))
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5  # (B, heads, m, n)
        raised = (scores - highest_read(scores, weights[:, None])).clamp(max=MOST).exp() * weights[:, None]
        shares = raised / (raised.sum(dim=-1, keepdim=True) + EPS)
        merged: Tensor = self.out((shares @ value).transpose(1, 2).flatten(2))
        return merged

    def _split(self, rows: Tensor) -> Tensor:
        """(B, n, C) ──► (B, heads, n, C / heads)."""
        split: Tensor = rows.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return split


class Block(nn.Module):
    """Self-attention and an MLP.

    Args:
        width: C.
        heads: of the attention.
        mlp_ratio: hidden width of the MLP, relative to C.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention, self.mlp = WeightedAttention(width, heads), mlp(width, mlp_ratio)

    def forward(self, rows: Tensor, weights: Tensor | None = None) -> Tensor:
        """Rows (B, n, C) and weights (B, 1 or n, n) of who is read, None for all ──► (B, n, C)."""
        first, second = self.norms
        normed = first(rows)
        read = rows.new_ones(1, 1, rows.shape[1]) if weights is None else weights
        rows = rows + self.attention(normed, normed, read)
        changed: Tensor = rows + self.mlp(second(rows))
        return changed


def highest_read(scores: Tensor, weights: Tensor) -> Tensor:
    """The highest of scores (B, heads, m, n) over keys of weight 1: (B, heads, m, 1), without gradient.

    A query that may read nothing has the highest of all.
    """
    read = weights > 0.5
    read = read | ~read.any(dim=-1, keepdim=True)
    return scores.detach().masked_fill(~read, -torch.inf).amax(dim=-1, keepdim=True)


def mlp(width: int, ratio: float) -> nn.Sequential:
    """(…, C) ──► (…, C) by one hidden layer."""
    hidden = round(ratio * width)
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
