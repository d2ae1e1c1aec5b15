"""image ⇄ grid of codebook entries: the trained part of the V2L Tokenizer, a VQ autoencoder.

image ──► CNN ──► quantizer ──► decoder, which also reads the global words by cross-attention, ──► image.
Networks see [-1, 1].
Source: V2L Tokenizer, arXiv 2403.07874, sections 3.2 and 3.3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from v2l.config import ModelConfig, TrainingConfig
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.grid.decoder import Decoder
from v2l.tokenizers.grid.encoder import IMAGE_CHANNELS, Encoder, downsampling_factor
from v2l.tokenizers.grid.patch_transform import PatchTransform
from v2l.tokenizers.quantizers.base import Quantized
from v2l.tokenizers.quantizers.build import build_quantizer


class Reconstruction(NamedTuple):
    """What one forward pass gives."""

    images: Tensor  # (B, 3, H, W) about [-1, 1], not clamped
    quantized: Quantized | None  # None while the quantizer is off


class GridAutoencoder(ImageTokenizer):
    """Images ⇄ grids of codebook entries, with global words as context of the decoder.

    Args:
        network: sizes of the network.
        training: weights of the quantizer's loss terms.
        local_rows: (V, D) vectors of the local words.
        global_rows: (V', D) vectors of the global words; kept in float32, never saved with the weights.
    """

    global_rows: Tensor

    def __init__(
        self, network: ModelConfig, training: TrainingConfig, local_rows: Tensor, global_rows: Tensor
    ) -> None:
        super().__init__()
        self.network = network
        self.encoder = Encoder(network)
        self.quant_conv = nn.Conv2d(network.z_channels, network.lookup_dim, kernel_size=1)
        self.quantizer = build_quantizer(network, training, local_rows)
        self.post_quant_conv = nn.Conv2d(network.lookup_dim, network.z_channels, kernel_size=1)
        self.decoder = Decoder(network, global_rows.shape[1])
        self.linear = self._linear_path() if network.linear_path else None
        self.register_buffer("global_rows", global_rows.float(), persistent=False)

    @property
    def factor(self) -> int:
        """f: pixels a side of one cell."""
        return downsampling_factor(self.network)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.global_rows.device

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] ──► (B, d, h, w) before the lookup, of unit length if the config says
        so.
        """
        features: Tensor = self.quant_conv(self.encoder(images))
        if self.linear is not None:
            features = features + self.linear.encode(images)
        if self.network.normalize_features:
            return functional.normalize(features.float(), dim=1, eps=1e-6)
        return features

    def paint(self, entries: Tensor, context: Tensor | None) -> Tensor:
        """Projected entries (B, d, h, w) and global rows (B, G, D) ──► (B, 3, H, W), about [-1, 1]."""
        painted: Tensor = self.decoder(self.post_quant_conv(entries), context)
        return painted if self.linear is None else painted + self.linear.decode(entries)

    def context(self, global_ids: Tensor) -> Tensor:
        """(B, G) int64 ──► (B, G, D): the global codebook's rows, which the decoder reads."""
        return self.global_rows[global_ids]

    def forward(self, images: Tensor, global_ids: Tensor, noise: float | None = None) -> Reconstruction:
        """One pass of training.

        Args:
            images: (B, 3, H, W) in [-1, 1], H and W multiples of f.
            global_ids: (B, G) int64.
            noise: None quantizes; a number replaces the quantizer by noise of that standard deviation.
        """
        features, context = self.features(images), self.context(global_ids)
        if noise is not None:
            return Reconstruction(self.paint(features + noise * torch.randn_like(features), context), None)
        quantized: Quantized = self.quantizer(features)
        return Reconstruction(self.paint(quantized.quantized, context), quantized)

    def _linear_path(self) -> PatchTransform:
        """A linear code of each patch; the CNNs beside it start at zero, so that training starts from the
        linear code alone.
        """
        for layer in (self.quant_conv, self.decoder.conv_out):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        return PatchTransform(IMAGE_CHANNELS, self.factor, self.network.lookup_dim)
