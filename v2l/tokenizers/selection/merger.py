"""kept and dropped patches ──► tokens: kept patches read the dropped ones.

Each block: causal self-attention among kept patches, cross-attention from kept patches to dropped ones only,
an MLP. Shapes stay (B, n, C). Source: LaVIT, arXiv 2309.04669, section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from v2l.tokenizers.transformer import WeightedAttention, mlp


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
