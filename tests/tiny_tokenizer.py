"""a seed ──► codebooks of a few random words and a V2L tokenizer of a few thousand weights, with no models
behind them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional

from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.config import Config, ModelConfig, TrainingConfig
from v2l.tokenizers.grid.model import V2LTokenizer

SOURCE = Source("tiny", "llm-fingerprint", "tiny", "encoder-fingerprint")
NETWORK = ModelConfig(
    image_size=32,
    global_tokens=3,
    level_channels=(32, 32, 32, 32),
    res_blocks=1,
    z_channels=32,
    lookup_dim=8,
    attention_heads=2,
    attention_head_dim=8,
)
FOLDED = ModelConfig(
    image_size=32,
    global_tokens=3,
    stem=4,
    resampling="shuffle",
    level_channels=(32, 64),
    res_blocks=1,
    z_channels=16,
    lookup_dim=8,
    attention_heads=2,
    attention_head_dim=8,
    normalize_features=False,
)
TRAINING = TrainingConfig(
    steps=8,
    batch_size=2,
    crop_size=16,
    random_crop=True,
    perceptual="none",
    adversarial_weight=0.0,
    save_every=100,
    log_every=1,
)

TOGETHER = replace(  # what two processes do with half a batch each, one does with all of it
    TRAINING,
    steps=4,
    adversarial_weight=0.1,
    discriminator_norm="group",
    discriminator_start=0.25,
    adversarial_start=0.25,
)


def tiny_codebook(
    size: int = 40, dim: int = 16, orders: int = 1, seed: int = 0, source: Source = SOURCE
) -> Codebook:
    """Random unit vectors for `size` words; token id i + 100 belongs to row i."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = functional.normalize(torch.randn(size, dim, generator=generator), dim=-1)
    entries = tuple(
        Entry(f"word{row}", tuple(range(row + 100, row + 101 + row % orders)), 1 + row % orders)
        for row in range(size)
    )
    return Codebook(entries, embeddings, source)


def tiny_tokenizer(
    network: ModelConfig = FOLDED, training: TrainingConfig = TRAINING, seed: int = 0
) -> V2LTokenizer:
    """A tokenizer with random weights."""
    torch.manual_seed(seed)
    return V2LTokenizer(
        Config(model=network, training=training), tiny_codebook(), tiny_codebook(30, orders=3, seed=1)
    ).eval()
