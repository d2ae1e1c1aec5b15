"""patch features of any grid ──► a fixed number of soft tokens, by one cross-attention layer: resampler.

Source: Qwen-VL, arXiv 2308.12966, section 2.1: learned queries; keys and values are the features; 2-D sine
positions on queries and keys. Ours is the start: soft tokens begin as the fitted maps of `fitted.py`, and the
published network adds to them, from zero. From random weights it named no more than chance after 300 steps.
"""

from __future__ import annotations

from math import isqrt

import torch
from torch import Tensor, nn

from v2l.tokenizers.adapters.fitted import FittedMaps, FittedTokenizer, start_at_zero
from v2l.tokenizers.adapters.model import AdapterSettings
from v2l.tokenizers.positions import sine_positions


class Resampler(nn.Module):
    """Qwen-VL's resampler.

    Args:
        channels: C, width of the features.
        width: of the LLM's input embeddings, a multiple of 4 and of `heads`.
        tokens: N, number of queries, a square number: 16, 64, 256.
        heads: of the attention.
    """

    def __init__(self, channels: int, width: int, tokens: int, heads: int) -> None:
        super().__init__()
        self.side = isqrt(tokens)
        self.queries = nn.Parameter(nn.init.trunc_normal_(torch.empty(tokens, width), std=0.02))
        self.input = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width, bias=False))
        self.key_norm, self.query_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.output = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))

    def forward(self, features: Tensor) -> Tensor:
        """(B, h, w, C) ──► (B, N, width), for any h and w."""
        grid, own = (features.shape[1], features.shape[2]), (self.side, self.side)
        values = self.key_norm(self.input(features.flatten(1, 2)))  # (B, h·w, width)
        width = values.shape[-1]
        keys = values + sine_positions(grid, width, own).flatten(0, 1).to(values)
        places = sine_positions(own, width).flatten(0, 1).to(values)  # (N, width)
        queries = self.query_norm(self.queries) + places
        read, _ = self.attention(queries.expand(len(values), -1, -1), keys, values, need_weights=False)
        soft: Tensor = self.output(read)
        return soft


class FittedResampler(FittedMaps):
    """Fitted maps of the fields of each image, and what Qwen-VL's resampler adds.

    Args:
        settings: sizes of the adapter.
    """

    def __init__(self, settings: AdapterSettings) -> None:
        super().__init__(settings)
        self.resampler = Resampler(settings.channels, settings.width, settings.tokens, settings.heads)
        start_at_zero(self.resampler.output[-1])


class ResamplerTokenizer(FittedTokenizer):
    """Qwen-VL's resampler; each soft token can read the whole image."""

    NAME = "resampler"
    network: FittedResampler

    @staticmethod
    def network_of(settings: AdapterSettings) -> FittedResampler:
        return FittedResampler(settings)

    def forward(self, features: Tensor) -> Tensor:
        """Patch features (B, h, w, C) ──► soft tokens (B, N, width)."""
        features = features.to(self.device).float()
        return self.soft_tokens(features, self.network.resampler(features))
