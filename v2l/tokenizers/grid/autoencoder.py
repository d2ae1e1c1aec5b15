"""image ⇄ grid of codebook entries: the trained part of the V2L Tokenizer, a VQ autoencoder.

image ──► CNN encoder ──► quantizer ──► CNN decoder ──► image. The decoder reads the global words by
cross-attention. The networks take images in [-1, 1]. Source: V2L Tokenizer, arXiv 2403.07874, sections 3.2
and 3.3.
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
    """The result of one forward pass in training."""

    images: Tensor  # (B, 3, H, W) about [-1, 1], not clamped
    quantized: Quantized | None  # None if noise replaced the quantizer


class GridAutoencoder(ImageTokenizer):
    """A VQ autoencoder whose decoder also reads global words.

    Args:
        network: sizes of the networks.
        training: weights of the quantizer's loss terms.
        local_rows: (V, D) text embeddings of the local words.
        global_rows: (V', D) text embeddings of the global words; kept in float32, not saved with the weights.
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
        """f, the side of one grid cell in pixels."""
        return downsampling_factor(self.network)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.global_rows.device

    def features(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1] ──► features (B, d, h, w) before quantization.

        They have unit length if the config has `normalize_features`.
        """
        features: Tensor = self.quant_conv(self.encoder(images))
        if self.linear is not None:
            features = features + self.linear.encode(images)
        if self.network.normalize_features:
            return functional.normalize(features.float(), dim=1, eps=1e-6)
        return features

    def paint(self, entries: Tensor, context: Tensor | None) -> Tensor:
        """Entries (B, d, h, w) and global rows (B, G, D) ──► images (B, 3, H, W), about [-1, 1]."""
        images: Tensor = self.decoder(self.post_quant_conv(entries), context)
        return images if self.linear is None else images + self.linear.decode(entries)

    def context(self, global_ids: Tensor) -> Tensor:
        """Indices (B, G) int64 ──► rows (B, G, D) of the global codebook, which the decoder reads."""
        return self.global_rows[global_ids]

    def forward(self, images: Tensor, global_ids: Tensor, noise: float | None = None) -> Reconstruction:
        """Reconstruct images in training.

        Args:
            images: (B, 3, H, W) float32 in [-1, 1], H and W multiples of f.
            global_ids: (B, G) int64, rows of the global codebook.
            noise: None quantizes. A number replaces it by Gaussian noise of this standard deviation.
        """
        features, context = self.features(images), self.context(global_ids)
        if noise is not None:
            return Reconstruction(self.paint(features + noise * torch.randn_like(features), context), None)
        quantized: Quantized = self.quantizer(features)
        return Reconstruction(self.paint(quantized.quantized, context), quantized)

    def _linear_path(self) -> PatchTransform:
        """A linear code of each patch, in parallel to the CNNs.

        The last layers of both CNNs are set to zero, so that training starts from the linear code alone.
        """
        for layer in (self.quant_conv, self.decoder.conv_out):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        return PatchTransform(IMAGE_CHANNELS, self.factor, self.network.lookup_dim)
