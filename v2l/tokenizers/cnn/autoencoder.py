"""image ⇄ grid of codebook entries: the trained part of the V2L Tokenizer, a VQ autoencoder.

image ──► CNN encoder ──► quantizer ──► CNN decoder ──► image. The decoder reads the global words by
cross-attention. The networks take images in [-1, 1]. Source: V2L Tokenizer, arXiv 2403.07874, sections 3.2
and 3.3.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from v2l.config import Config
from v2l.errors import V2LError
from v2l.images import resize
from v2l.tokenizers.cnn.decoder import Decoder
from v2l.tokenizers.cnn.encoder import (
    IMAGE_CHANNELS,
    Encoder,
    downsampling_factor,
    to_image_range,
    to_network_range,
)
from v2l.tokenizers.cnn.patch_transform import PatchTransform
from v2l.tokenizers.cnn.tiling import Tiling, decode_in_tiles, encode_in_tiles
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.quantizers.base import Quantized
from v2l.tokenizers.quantizers.build import build_quantizer
from v2l.tokens import CellGrid, VisualTokens

# Up to 768 × 768 pixels (f = 8) in one pass. The attention of 9,216 cells takes 0.3 GB a matrix.
TILING = Tiling(side=48, overlap=8, single_pass=96 * 96)


class Reconstruction(NamedTuple):
    """The result of one forward pass in training."""

    images: Tensor  # (B, 3, H, W) about [-1, 1], not clamped
    quantized: Quantized | None  # None if noise replaced the quantizer


class GridAutoencoder(ImageTokenizer):
    """A VQ autoencoder whose decoder can also read global words.

    Args:
        config: sizes of the networks, and weights of the quantizer's loss terms.
        local_rows: (V, D) text embeddings of the local words.
        global_rows: (V', D) text embeddings of the global words; kept in float32, not saved with the weights.
    """

    SCALES = ("own", "model")
    global_rows: Tensor

    def __init__(self, config: Config, local_rows: Tensor, global_rows: Tensor) -> None:
        super().__init__()
        self.config, self.network = config, config.model
        network = self.network
        self.encoder = Encoder(network)
        self.quant_conv = nn.Conv2d(network.z_channels, network.lookup_dim, kernel_size=1)
        self.quantizer = build_quantizer(network, config.training, local_rows)
        self.post_quant_conv = nn.Conv2d(network.lookup_dim, network.z_channels, kernel_size=1)
        self.decoder = Decoder(network, global_rows.shape[1])
        self.linear = self._linear_path() if network.linear_path else None
        self.register_buffer("global_rows", global_rows.float(), persistent=False)

    @property
    def factor(self) -> int:
        """f, the side of one grid cell in pixels."""
        return downsampling_factor(self.network)

    @property
    def loss_network(self) -> str:
        return self.config.training.perceptual

    @property
    @abstractmethod
    def codes_description(self) -> str:
        """How many codes there are and where they come from, for the metadata of a run."""

    @property
    def words_fingerprint(self) -> str | None:
        """A hash of the words that are codes or are read; None without words."""
        return None

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.global_rows.device

    def whole_size(self, height: int, width: int) -> tuple[int, int]:
        """The size (H, W) for the scale "model": about as many cells as the model's square has."""
        scale = self.network.image_size / math.sqrt(height * width)
        cells = [max(1, round(side * scale / self.factor)) for side in (height, width)]
        return cells[0] * self.factor, cells[1] * self.factor

    def at_scale(self, image: Tensor, scale: str | None) -> Tensor:
        """A whole photograph (3, H, W) ──► what the encoder reads of it, (1, 3, h · f, w · f).

        At its own scale the last rows and columns are repeated up to a multiple of f; `decode_whole` cuts
        them off again.
        """
        height, width = image.shape[-2:]
        if self.scale_named(scale) == "model":
            return resize(image[None], self.whole_size(height, width))
        beyond = (0, -width % self.factor, 0, -height % self.factor)  # left, right, top, bottom
        return functional.pad(image[None], beyond, mode="replicate")

    def decode_whole(self, tokens: VisualTokens, size: tuple[int, int], scale: str | None = None) -> Tensor:
        """The tokens of `encode_whole` ──► the photograph (3, H, W) in [0, 1], at its own size."""
        if self.scale_named(scale) == "model":
            return super().decode_whole(tokens, size, scale)
        grid, wanted = tokens.layout, tuple(-(-side // self.factor) for side in size)
        if not isinstance(grid, CellGrid) or (grid.rows, grid.columns) != wanted:
            raise V2LError(f"got tokens with the layout {grid}", f"{wanted[0]} × {wanted[1]} cells")
        return self.decode(tokens)[0, :, : size[0], : size[1]].cpu()

    def encode_rows(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] ──► rows of the codebook (B, h, w) int64; large images in tiles.

        Raises:
            V2LError: H or W is not a multiple of f.
        """
        height, width = images.shape[-2:]
        if height % self.factor or width % self.factor:
            raise V2LError(
                f"got images of {width} × {height} pixels",
                f"sides that are multiples of {self.factor}",
                "model.encode(images, crop=True)",
            )

        def encode(part: Tensor) -> Tensor:
            rows: Tensor = self.quantizer(self.features(part)).indices
            return rows

        return encode_in_tiles(encode, to_network_range(images.to(self.device)), self.factor, TILING)

    def decode_rows(self, rows: Tensor, context: Tensor | None) -> Tensor:
        """Rows of the codebook (B, h, w) and global rows (B, G, D) ──► images (B, 3, H, W) in [0, 1].

        Large grids are decoded in tiles.
        """

        def decode(part: Tensor) -> Tensor:
            return self.paint(self.quantizer.lookup(part), context)

        return to_image_range(decode_in_tiles(decode, rows.to(self.device), self.factor, TILING))

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
        features = self.features(images)
        context = self.context(global_ids) if self.network.cross_attention else None
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
