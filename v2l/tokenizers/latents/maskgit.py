"""codes of MaskGIT's VQGAN ──► image: the pixel decoder of the released TiTok.

Residual blocks without attention, nearest-neighbour upsampling. Names and shapes of the weights are those of
the release. Source: MaskGIT, arXiv 2202.04200, section 3.1; VQGAN, arXiv 2012.09841.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from v2l.tokenizers.latents.settings import LatentSettings

GROUPS, EPSILON = 32, 1e-6
BLOCKS = 2  # residual blocks at each resolution


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=EPSILON)


def _conv(before: int, after: int, kernel: int = 3, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=bias)


class ResidualBlock(nn.Module):
    """Twice (norm, activation, 3 × 3 convolution), and a skip connection."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _norm(before), _norm(after)
        self.conv1, self.conv2 = _conv(before, after, bias=False), _conv(after, after, bias=False)
        if before != after:
            self.nin_shortcut = _conv(after, after, kernel=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Where the width changes, the release's shortcut reads the block's output, not its input."""
        new: Tensor = self.conv2(silu(self.norm2(self.conv1(silu(self.norm1(features))))))
        return new + (self.nin_shortcut(new) if hasattr(self, "nin_shortcut") else features)


class Level(nn.Module):
    """Residual blocks at one resolution, then upsampling, except at the finest."""

    def __init__(self, before: int, channels: int, finest: bool) -> None:
        super().__init__()
        self.block = nn.ModuleList(
            ResidualBlock(before if place == 0 else channels, channels) for place in range(BLOCKS)
        )
        if not finest:
            self.upsample_conv = _conv(channels, channels)

    def forward(self, features: Tensor) -> Tensor:
        for block in self.block:
            features = block(features)
        if hasattr(self, "upsample_conv"):
            features = self.upsample_conv(interpolate(features, scale_factor=2.0, mode="nearest"))
        return features


class PixelDecoder(nn.Module):
    """Vectors (B, proxy_width, h, w) ──► images (B, 3, H, W) about [0, 1]."""

    def __init__(self, settings: LatentSettings) -> None:
        super().__init__()
        channels = [settings.pixel_channels * level for level in settings.pixel_levels]
        self.conv_in = _conv(settings.proxy_width, channels[-1])
        self.mid = nn.ModuleList(ResidualBlock(channels[-1], channels[-1]) for _ in range(BLOCKS))
        coarser = [*channels[1:], channels[-1]]
        self.up = nn.ModuleList(
            Level(before, own, level == 0)
            for level, (before, own) in enumerate(zip(coarser, channels, strict=True))
        )
        self.norm_out = _norm(channels[0])
        self.conv_out = _conv(channels[0], 3)

    def forward(self, vectors: Tensor) -> Tensor:
        features = self.conv_in(vectors)
        for block in (*self.mid, *reversed(self.up)):
            features = block(features)
        images: Tensor = self.conv_out(silu(self.norm_out(features)))
        return images


class ProxyDecoder(nn.Module):
    """Logits over the proxy's codes ──► images: the mean of the codes' vectors, then the pixel decoder."""

    def __init__(self, settings: LatentSettings) -> None:
        super().__init__()
        self.codes = nn.Parameter(0.02 * torch.randn(settings.proxy_codes, settings.proxy_width))
        self.decoder = PixelDecoder(settings)

    def forward(self, logits: Tensor) -> Tensor:
        """(B, proxy_codes, h, w) ──► (B, 3, H, W) about [0, 1]."""
        shares = logits.softmax(dim=1).movedim(1, -1)  # (B, h, w, proxy_codes)
        images: Tensor = self.decoder((shares @ self.codes).movedim(-1, 1))
        return images
