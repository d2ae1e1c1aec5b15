"""kept and dropped patches ──► tokens: kept patches read the dropped ones.

Each block: causal self-attention among kept patches, cross-attention from kept patches to dropped ones only,
an MLP. Shapes stay (B, n, C). A weight of 0 or 1 for each key says who is read, so a choice of patches has a
gradient. Source: LaVIT, arXiv 2309.04669, section 3.1; attention with such weights: DynamicViT, arXiv
2106.02034, equation 10.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

EPS = 1e-6  # of the sum of weights, for a query that may read nothing


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
        raised = (scores - scores.amax(dim=-1, keepdim=True).detach()).exp() * weights[:, None]
        shares = raised / (raised.sum(dim=-1, keepdim=True) + EPS)
        merged: Tensor = self.out((shares @ value).transpose(1, 2).flatten(2))
        return merged

    def _split(self, rows: Tensor) -> Tensor:
        """(B, n, C) ──► (B, heads, n, C / heads)."""
        split: Tensor = rows.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return split


class MergerBlock(nn.Module):
    """One block of the merger.

    Args:
        width: C.
        heads: of both attentions.
        mlp_ratio: hidden width of the MLP, relative to C.
    """

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(4))
        self.among_kept, self.to_dropped = WeightedAttention(width, heads), WeightedAttention(width, heads)
        self.mlp = mlp(width, mlp_ratio)

    def forward(self, tokens: Tensor, patches: Tensor, kept: Tensor) -> Tensor:
        """Tokens (B, n, C), patches (B, n, C) as they entered, kept (B, n) ──► tokens (B, n, C).

        Tokens at dropped places are computed, and no one reads them.
        """
        first, second, third, of_patches = self.norms
        count = tokens.shape[1]
        earlier = torch.ones(count, count, device=tokens.device).tril()[None]  # (1, n, n): causal
        normed = first(tokens)
        tokens = tokens + self.among_kept(normed, normed, earlier * kept[:, None])
        tokens = tokens + self.to_dropped(second(tokens), of_patches(patches), 1 - kept[:, None])
        merged: Tensor = tokens + self.mlp(third(tokens))
        return merged


class DecoderBlock(nn.Module):
    """Self-attention and an MLP: every place reads all others."""

    def __init__(self, width: int, heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention, self.mlp = WeightedAttention(width, heads), mlp(width, mlp_ratio)

    def forward(self, tokens: Tensor) -> Tensor:
        first, second = self.norms
        normed = first(tokens)
        tokens = tokens + self.attention(normed, normed, tokens.new_ones(1, 1, tokens.shape[1]))
        read: Tensor = tokens + self.mlp(second(tokens))
        return read


def mlp(width: int, ratio: float) -> nn.Sequential:
    """(…, C) ──► (…, C) by one hidden layer."""
    hidden = round(ratio * width)
    return nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
