"""photograph ──► features of its grid before the lookup; features ──► the nearest words, as token ids."""

from __future__ import annotations

import torch
from torch import Tensor

from v2l.tokenizers.cnn.encoder import to_network_range
from v2l.tokenizers.grid.model import V2LTokenizer


@torch.no_grad()
def grid_features(tokenizer: V2LTokenizer, images: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1], H and W multiples of f ──► features (B, h, w, d) float32, on the CPU."""
    features = tokenizer.features(to_network_range(images.to(tokenizer.device)))
    return features.float().cpu().movedim(1, -1)


@torch.no_grad()
def nearest_tokens(tokenizer: V2LTokenizer, features: Tensor) -> Tensor:
    """Features (B, h, w, d) ──► the token id of the nearest code vector of each cell, (B, h, w) int64."""
    rows = tokenizer.quantizer(features.movedim(-1, 1).to(tokenizer.device)).indices
    return tokenizer.local_codebook.token_ids.to(rows.device)[rows].cpu()
