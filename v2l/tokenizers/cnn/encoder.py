"""image ──► features: a CNN encoder that turns f × f pixels into one grid cell (f = 8 by default).

Trained. The blocks are those of taming-transformers. With `stem: 1` and `resampling: conv` the network is
the VQGAN encoder of the paper, with the same weight names. Sources: VQGAN, arXiv 2012.09841, appendix; V2L
Tokenizer, arXiv 2403.07874, section 3.2.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from taming.modules.diffusionmodules.model import AttnBlock, Downsample, Normalize, ResnetBlock
from torch import Tensor, nn
from torch.nn import functional

from v2l.config import ModelConfig

IMAGE_CHANNELS = 3


def residual_block(channels_in: int, channels_out: int) -> ResnetBlock:
    """Twice (norm, activation, 3 × 3 convolution), and a skip connection; no dropout."""
    return ResnetBlock(in_channels=channels_in, out_channels=channels_out, temb_channels=0, dropout=0.0)


def through_level(features: Tensor, blocks: nn.ModuleList, attention: nn.ModuleList) -> Tensor:
    """Residual blocks, each followed by its self-attention if the level has any."""
    for place, block in enumerate(blocks):
        features = block(features, None)
        if attention:
            features = attention[place](features)
    return features


class FoldedDownsample(nn.Module):
    """Downsampling by one convolution of stride 2: (B, C, h, w) ──► (B, C', h/2, w/2)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=2, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        halved: Tensor = self.conv(features)
        return halved


class EncoderLevel(nn.Module):
    """Residual blocks at one resolution, then downsampling, except at the coarsest resolution."""

    def __init__(
        self, channels_in: int, channels: int, config: ModelConfig, below: int | None, attention: bool
    ) -> None:
        super().__init__()
        widths = [channels_in] + [channels] * config.res_blocks
        self.block = nn.ModuleList(residual_block(before, after) for before, after in pairwise(widths))
        self.attn = nn.ModuleList(AttnBlock(channels) for _ in self.block if attention)
        if below is not None:
            folded = config.resampling == "shuffle"
            self.downsample = (
                FoldedDownsample(channels, below) if folded else Downsample(channels, with_conv=True)
            )

    def forward(self, features: Tensor) -> Tensor:
        features = through_level(features, self.block, self.attn)
        return self.downsample(features) if hasattr(self, "downsample") else features


class Middle(nn.Module):
    """The blocks at the coarsest resolution: residual block, self-attention, residual block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.block_1 = residual_block(channels, channels)
        self.attn_1 = AttnBlock(channels)
        self.block_2 = residual_block(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        mixed: Tensor = self.block_2(self.attn_1(self.block_1(features, None)), None)
        return mixed


class Encoder(nn.Module):
    """The CNN encoder.

    Args:
        config: widths and depths; the downsampling factor f is stem · 2^(levels - 1).
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        channels = config.level_channels
        self.stem = config.stem
        self.conv_in = nn.Conv2d(IMAGE_CHANNELS * config.stem**2, channels[0], kernel_size=3, padding=1)
        self.down = nn.ModuleList()
        width = channels[0]
        for level, own in enumerate(channels):
            below = channels[level + 1] if level + 1 < len(channels) else None
            self.down.append(EncoderLevel(width, own, config, below, level in config.attention_levels))
            width = below if config.resampling == "shuffle" and below else own
        self.mid = Middle(channels[-1])
        self.norm_out = Normalize(channels[-1])
        self.conv_out = nn.Conv2d(channels[-1], config.z_channels, kernel_size=3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] ──► features (B, z_channels, H / f, W / f)."""
        folded = functional.pixel_unshuffle(images, self.stem)  # (B, 3·stem², H / stem, W / stem)
        features = self.conv_in(folded)
        for level in self.down:
            features = level(features)
        coarse: Tensor = self.conv_out(functional.silu(self.norm_out(self.mid(features))))
        return coarse


def downsampling_factor(config: ModelConfig) -> int:
    """f, the side of one grid cell in pixels."""
    halvings = len(config.level_channels) - 1
    return config.stem << halvings  # stem · 2^halvings


def to_network_range(images: Tensor) -> Tensor:
    """Images in [0, 1] ──► images in [-1, 1], the range of the networks and the losses."""
    return images * 2 - 1


def to_image_range(images: Tensor) -> Tensor:
    """Images in [-1, 1] ──► images in [0, 1], clamped."""
    return torch.clamp((images + 1) / 2, 0, 1)
