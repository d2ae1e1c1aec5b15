"""patches ──► codes of latents ──► the proxy's features: the trained part of TiTok.

Source: TiTok, arXiv 2406.07550, sections 3.2 and 3.3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle

from v2l.tokenizers.latents.linear_code import LinearCode
from v2l.tokenizers.latents.maskgit import ProxyDecoder
from v2l.tokenizers.latents.settings import MASKGIT, LatentSettings
from v2l.tokenizers.latents.transformer import LatentDecoder, LatentEncoder, LegacyEncoder
from v2l.tokenizers.latents.word_codes import WordQuantizer
from v2l.tokenizers.quantizers.base import Quantizer
from v2l.tokenizers.quantizers.vq import LearnedQuantizer

RGB = 3


class Coded(NamedTuple):
    """The codes of some images."""

    entries: Tensor  # (B, n, code_width) nearest entries, with straight-through gradient
    indices: Tensor  # (B, n) int64
    vectors: Tensor  # (B, n, code_width) before the lookup
    loss: Tensor  # () of the quantizer


class GridShape(NamedTuple):
    """What the networks must know of the grid tokenizer; zeros if they do not use it."""

    channels: int = 0  # d
    factor: int = 1  # f, pixels a side of a cell


class LatentNetwork(nn.Module):
    """Encoder, quantizer and decoder.

    Args:
        settings: sizes.
        grid: of the grid tokenizer.
        words: (V, d) its projected words, for the codebook "words".
        weights: of the commitment and of the codebook term.

    Raises:
        ValueError: the codebook is "words", and `words` is None.
    """

    def __init__(
        self,
        settings: LatentSettings,
        grid: GridShape,
        words: Tensor | None = None,
        weights: tuple[float, float] = (0.25, 1.0),
    ) -> None:
        super().__init__()
        self.settings, released = settings, settings.pixel_decoder == MASKGIT
        pixels = settings.reads == "pixels"
        self.cells = settings.patch // grid.factor  # of the grid, a side of a patch
        make = LegacyEncoder if released else LatentEncoder
        self.encoder = make(
            settings, RGB if pixels else grid.channels, settings.patch if pixels else self.cells
        )
        self.latent_tokens = nn.Parameter(
            settings.width**-0.5 * torch.randn(settings.latents, settings.width)
        )
        self.quantizer = self._quantizer(words, weights)
        outputs = settings.proxy_codes if released else grid.channels * self.cells**2
        self.decoder = LatentDecoder(settings, outputs)
        self.pixels = ProxyDecoder(settings) if released else None
        side = settings.image_size // grid.factor
        self.linear = None
        if settings.linear_path:
            self.linear = LinearCode((grid.channels, side, side), settings.blocks, settings.code_width)
            for layer in (self.encoder.conv_out, self.decoder.ffn[-1]):  # starts as the linear code alone
                for weight in layer.parameters():
                    nn.init.zeros_(weight)

    def _quantizer(self, words: Tensor | None, weights: tuple[float, float]) -> Quantizer:
        if self.settings.codebook == "learned":
            return LearnedQuantizer(self.settings.codes, self.settings.code_width, *weights, cosine=True)
        if words is None:
            raise ValueError("a codebook of words needs them")
        return WordQuantizer(words, weights[0])

    def encode(self, patches: Tensor, count: int) -> Coded:
        """Compute the first `count` codes.

        Args:
            patches: (B, 3, S, S) in [0, 1], or features (B, d, h, w).
            count: one of the lengths.
        """
        vectors = self.encoder(patches, self.latent_tokens[:count])
        if self.linear is None:
            return self._look_up(vectors)
        left, parts = self.linear.transform(patches), []
        for first, end in self.settings.blocks:
            if end > count:
                break
            coded = self._look_up(vectors[:, first:end] + self.linear.analyse(left, first, end))
            left = left - self.linear.spread(coded.entries.detach(), first)
            parts.append(coded)
        entries, indices, found, losses = zip(*parts, strict=True)
        return Coded(
            torch.cat(entries, 1), torch.cat(indices, 1), torch.cat(found, 1), torch.stack(losses).mean()
        )

    def _look_up(self, vectors: Tensor) -> Coded:
        """(B, n, code_width) ──► their nearest entries."""
        # The quantizers read maps (B, d, h, w).
        quantized = self.quantizer(vectors.transpose(1, 2)[:, :, None])
        entries = quantized.quantized[:, :, 0].transpose(1, 2)
        return Coded(entries, quantized.indices[:, 0], vectors, quantized.loss)

    def entries(self, indices: Tensor) -> Tensor:
        """Indices (B, n) ──► entries (B, n, code_width)."""
        return self.quantizer.entries()[indices]

    def features(self, entries: Tensor) -> Tensor:
        """Entries (B, n, code_width) ──► the proxy's features (B, d, h, w)."""
        features = pixel_shuffle(self.decoder(entries), self.cells)
        if self.linear is not None:
            features = features + self.linear.inverse(self.linear.spread(entries, 0))
        return features

    def forward(self, patches: Tensor, count: int) -> tuple[Coded, Tensor]:
        """Patches ──► `count` codes, and the features (B, d, h, w) that they decode to."""
        coded = self.encode(patches, count)
        return coded, self.features(coded.entries)
