"""a seed ──► a VQGAN of a few thousand weights, with random weights."""

from __future__ import annotations

from dataclasses import replace

import torch
from tiny_tokenizer import FOLDED, TRAINING

from v2l.config import Config
from v2l.tokenizers.vqgan.model import VQGANTokenizer

VQGAN_NETWORK = replace(
    FOLDED, tokenizer="vqgan", quantizer="averaged", codes=24, cross_attention=False, attention_levels=(1,)
)


def tiny_vqgan(quantizer: str = "averaged", seed: int = 0) -> VQGANTokenizer:
    """8 × 8 pixels a code, 32 px images, 24 codes."""
    torch.manual_seed(seed)
    network = replace(VQGAN_NETWORK, quantizer=quantizer)
    return VQGANTokenizer(Config(model=network, training=TRAINING)).eval()
