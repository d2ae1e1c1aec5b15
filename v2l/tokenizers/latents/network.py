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
        self.encoder, self.latent_tokens = None, None
        if settings.encoder_layers:
            make = LegacyEncoder if released else LatentEncoder
            self.encoder = make(
                settings, RGB if pixels else grid.channels, settings.patch if pixels else self.cells
            )
            self.latent_tokens = nn.Parameter(
                settings.width**-0.5 * torch.randn(settings.latents, settings.width)
            )
        # (first, end) of the latents of each quantizer
        self.blocks = settings.blocks if settings.linear_path else ((0, settings.latents),)
        self.quantizers = nn.ModuleList(self._quantizer(words, weights) for _ in self.blocks)
        outputs = settings.proxy_codes if released else grid.channels * self.cells**2
        self.decoder = LatentDecoder(settings, outputs)
        self.pixels = ProxyDecoder(settings) if released else None
        self.linear, self.draft_embed = None, None
        if settings.linear_path:
            side = settings.image_size // grid.factor
            self.linear = LinearCode((grid.channels, side, side), self.blocks, settings.code_width)
            self.draft_embed = nn.Conv2d(grid.channels, settings.width, self.cells, stride=self.cells)
            self._start_linear()

    def _start_linear(self) -> None:
        """Let the networks add nothing to the linear code at first."""
        last = [self.decoder.ffn[-1]]
        if self.encoder is not None:
            last.append(self.encoder.conv_out)
        for layer in last:
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
        written = self._written(patches, count)
        if self.linear is None:
            return self._look_up(written, 0)
        left, parts = self.linear.transform(patches), []
        for block, (first, end) in enumerate(self.blocks):
            if end > count:
                break
            coded = self._look_up(self.linear.analyse(left, first, end) + written[:, first:end], block)
            left = left - self.linear.spread(coded.entries.detach(), first)
            parts.append(coded)
        entries, indices, found, losses = zip(*parts, strict=True)
        return Coded(
            torch.cat(entries, 1), torch.cat(indices, 1), torch.cat(found, 1), torch.stack(losses).mean()
        )

    def _written(self, patches: Tensor, count: int) -> Tensor:
        """What the encoder writes into the first `count` latents: (B, count, code_width); 0 without one."""
        if self.encoder is None or self.latent_tokens is None:
            return patches.new_zeros(len(patches), count, self.settings.code_width)
        vectors: Tensor = self.encoder(patches, self.latent_tokens[:count])
        return vectors

    def _look_up(self, vectors: Tensor, block: int) -> Coded:
        """(B, n, code_width) of one block ──► their nearest entries."""
        # The quantizers read maps (B, d, h, w).
        quantized = self.quantizers[block](vectors.transpose(1, 2)[:, :, None])
        entries = quantized.quantized[:, :, 0].transpose(1, 2)
        return Coded(entries, quantized.indices[:, 0], vectors, quantized.loss)

    @property
    def codebook_size(self) -> int:
        """V, entries of the codebook, which all blocks share."""
        return self.block_quantizer(0).codebook_size

    def block_quantizer(self, block: int) -> Quantizer:
        """The quantizer of a block of latents."""
        quantizer = self.quantizers[block]
        assert isinstance(quantizer, Quantizer)
        return quantizer

    def entries(self, indices: Tensor) -> Tensor:
        """Indices (B, n) ──► entries (B, n, code_width)."""
        parts = [
            self.block_quantizer(block).entries()[indices[:, first:end]]
            for block, (first, end) in enumerate(self.blocks)
            if first < indices.shape[1]
        ]
        return torch.cat(parts, dim=1)

    def features(self, entries: Tensor) -> Tensor:
        """Entries (B, n, code_width) ──► the proxy's features (B, d, h, w)."""
        if self.linear is None or self.draft_embed is None:
            return pixel_shuffle(self.decoder(entries), self.cells)
        draft = self.linear.inverse(self.linear.spread(entries, 0))
        seen = self.draft_embed(draft).flatten(2).transpose(1, 2)  # (B, grid², width)
        return draft + pixel_shuffle(self.decoder(entries, seen), self.cells)

    def forward(self, patches: Tensor, count: int) -> tuple[Coded, Tensor]:
        """Patches ──► `count` codes, and the features (B, d, h, w) that they decode to."""
        coded = self.encode(patches, count)
        return coded, self.features(coded.entries)
