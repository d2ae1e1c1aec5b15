"""image ⇄ a short sequence of codes, each about the whole image: TiTok.

With the codebook "words" the codes are token ids of the LLM: an image is a sentence of 16 to 128 words, from
which it is decoded again. Images of any aspect ratio are resized to the model's square, and back. Source:
TiTok, arXiv 2406.07550.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from v2l.codebook.codebook import Codebook
from v2l.errors import V2LError
from v2l.images import resize
from v2l.sections import section_from_dict
from v2l.tokenizers.cnn.encoder import to_image_range
from v2l.tokenizers.contract import ImageTokenizer, LLMVocabulary, check_images, check_streams
from v2l.tokenizers.latents.frozen_grid import FrozenGrid
from v2l.tokenizers.latents.network import GridShape, LatentNetwork
from v2l.tokenizers.latents.settings import GRID, LatentSettings
from v2l.tokens import CodeStream, VisualTokens, Word


class TiTokTokenizer(ImageTokenizer):
    """Images ⇄ L codes in one sequence.

    Args:
        settings: sizes.
        grid: the frozen grid tokenizer; None for released models, which have a pixel decoder of their own.
        length: codes that `encode` writes, one of the settings' lengths; None is the longest.

    Raises:
        V2LError: the settings need a grid tokenizer, or it does not fit them.

    Example:
        >>> import v2l
        >>> model = v2l.load_tokenizer("titok:32")
        >>> tokens = model.encode(v2l.load_image("data/samples/shoes/boots.jpg")[None])
        >>> tokens.ids.shape, model.decode(tokens).shape
        (torch.Size([1, 32]), torch.Size([1, 3, 128, 128]))
    """

    NAME = "titok"

    def __init__(
        self,
        settings: LatentSettings,
        grid: FrozenGrid | None = None,
        length: int | None = None,
        weights: tuple[float, float] = (0.25, 1.0),
    ) -> None:
        super().__init__()
        self.network_settings, self.grid = settings, grid
        self.length = settings.latents if length is None else length
        words = self.words
        if settings.codebook == "words" and words is None:
            raise V2LError("got a codebook of words without a grid tokenizer of words", "the one that ships")
        projected = None if grid is None or words is None else grid.tokenizer.quantizer.entries()
        self.network = LatentNetwork(settings, _shape(settings, grid), projected, weights)

    @property
    def words(self) -> Codebook | None:
        """The words of the codes, in the order of the rows; None if codes are learned."""
        in_words = self.grid is not None and self.network_settings.codebook == "words"
        return self.grid.words if self.grid is not None and in_words else None

    @property
    def lengths(self) -> tuple[int, ...]:
        return self.network_settings.lengths

    def with_length(self, length: int) -> Self:
        """The same tokenizer, with the same weights, that writes another number of codes.

        Raises:
            V2LError: the model does not have it.
        """
        self._check_length(length)
        other = copy.copy(self)
        other.length = length
        return other

    @property
    def vocabulary(self) -> LLMVocabulary | None:
        """The LLM whose words the codes are."""
        if self.words is None:
            return None
        return LLMVocabulary(self.words.source.llm, self.words.source.llm_fingerprint)

    @property
    def codebook_size(self) -> int:
        """Number of entries."""
        return self.network.codebook_size

    @property
    def loss_network(self) -> str:
        return "none" if self.grid is None else self.grid.tokenizer.loss_network

    def square(self, images: Tensor, size: int) -> Tensor:
        """(B, 3, H, W) in [0, 1] ──► (B, 3, size, size): the whole image, as `encode` sees it."""
        return resize(images, (size, size))

    def whole_size(self, height: int, width: int) -> tuple[int, int]:
        """The model's square, whatever the aspect ratio."""
        return self.network_settings.image_size, self.network_settings.image_size

    @torch.inference_mode()
    def encode(self, images: Tensor) -> VisualTokens:
        """Images ──► `length` codes.

        Args:
            images: (B, 3, H, W) float32 in [0, 1]; resized to the model's square, not cropped.

        Returns:
            ids (B, length): token ids of the LLM with the codebook "words", else rows of the codebook.

        Raises:
            V2LError: the images have another shape or dtype.
        """
        check_images(images)
        seen = self.square(images.to(self.device), self.network_settings.image_size)
        coded = self.network.encode(self.patches(seen), self.length)
        rows = coded.indices.cpu()
        if self.words is None:
            return VisualTokens("codes", rows)
        scores = cosine_similarity(coded.vectors, self.network.entries(coded.indices), dim=-1).tolist()
        return VisualTokens("codes", self.words.token_ids[rows], words=self._sentences(rows, scores))

    def patches(self, images: Tensor) -> Tensor:
        """Squares (B, 3, S, S) in [0, 1] ──► what the encoder reads of them."""
        if self.grid is None or self.network_settings.reads == "pixels":
            return images
        return self.grid.features(images)

    @torch.inference_mode()
    def decode(self, tokens: VisualTokens) -> Tensor:
        """Codes ──► images (B, 3, S, S) float32 in [0, 1].

        Raises:
            V2LError: their number is no length of the model, or a code is not in the codebook.
        """
        rows = self._rows(tokens).to(self.device)
        self._check_length(rows.shape[1])
        entries = self.network.entries(rows)
        if self.network.pixels is not None:
            images: Tensor = self.network.pixels(self.network.decoder(entries))
            return images.clamp(0, 1)
        assert self.grid is not None
        return to_image_range(self.grid.paint(self.network.features(entries)))

    def code_streams(self, tokens: VisualTokens) -> tuple[CodeStream, ...]:
        """The codes of one image as rows of the codebook."""
        return (CodeStream(self._rows(tokens)[:1], self.codebook_size),)

    def tokens_of_streams(self, streams: Sequence[CodeStream]) -> VisualTokens:
        """What `code_streams` gave ──► tokens, B = 1; their words have no scores, which no file keeps."""
        check_streams(streams, (self.codebook_size,))
        rows = streams[0].rows.flatten()[None]
        self._check_length(rows.shape[1])
        if self.words is None:
            return VisualTokens("codes", rows)
        sentences = self._sentences(rows, torch.zeros(rows.shape).tolist())
        return VisualTokens("codes", self.words.token_ids[rows], words=sentences)

    def describe(self) -> dict[str, str]:
        """Name, length, and the grid tokenizer that decodes."""
        grid = {} if self.grid is None else {"grid": self.grid.fingerprint}
        return {**super().describe(), "lengths": ", ".join(map(str, self.lengths)), **grid}

    def settings(self) -> dict[str, Any]:
        """The sizes, and the fingerprint of the grid tokenizer."""
        network = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self.network_settings).items()
        }
        return {"network": network, "grid": None if self.grid is None else self.grid.fingerprint}

    @classmethod
    def build(cls, manifest: Mapping[str, Any], folder: Path) -> Self:
        """The tokenizer of a manifest, before its weights are loaded.

        Raises:
            V2LError: the grid tokenizer that ships is another one.
        """
        settings = section_from_dict(LatentSettings, manifest["network"], str(folder))
        grid = FrozenGrid.shipped(manifest["grid"]) if settings.pixel_decoder == GRID else None
        return cls(settings, grid)

    def _sentences(self, rows: Tensor, scores: Sequence[Sequence[float]]) -> tuple[tuple[Word, ...], ...]:
        assert self.words is not None
        entries = self.words.entries
        return tuple(
            tuple(Word(entries[row].word, entries[row].ids, score) for row, score in zip(*image, strict=True))
            for image in zip(rows.tolist(), scores, strict=True)
        )

    def _rows(self, tokens: VisualTokens) -> Tensor:
        """Ids (B, n) ──► rows of the codebook (B, n) int64."""
        if tokens.ids is None or tokens.kind != "codes":
            raise V2LError(f"got {tokens.kind}", "codes that encode gave", "tokenizer.encode(images)")
        allowed = f"one of its {self.codebook_size:,} codes"
        if self.words is None:
            if tokens.ids.min() < 0 or tokens.ids.max() >= self.codebook_size:
                raise V2LError("a code lies outside the codebook", f"0 to {self.codebook_size - 1}")
            return tokens.ids
        known, ids = self.words.row_of_token, tokens.ids.flatten().tolist()
        unknown = next((code for code in ids if code not in known), None)
        if unknown is not None:
            raise V2LError(f"got the id {unknown}, which is no word of the codebook", allowed)
        return torch.tensor([known[code] for code in ids]).view(tokens.ids.shape)

    def _check_length(self, length: int) -> None:
        if length not in self.lengths:
            allowed = ", ".join(map(str, self.lengths))
            raise V2LError(
                f"this model has no length of {length} codes", allowed, f"titok:{self.lengths[-1]}"
            )


def _shape(settings: LatentSettings, grid: FrozenGrid | None) -> GridShape:
    """What the networks must know of a grid tokenizer; checks that it fits."""
    if settings.pixel_decoder != GRID:
        return GridShape()
    if grid is None:
        raise V2LError("got a pixel decoder of the grid tokenizer without one", "the one that ships")
    if settings.patch % grid.factor:
        raise V2LError(
            f"got patches of {settings.patch} pixels for a grid tokenizer with cells of {grid.factor}",
            f"a multiple of {grid.factor}",
        )
    if settings.codebook == "words" and settings.code_width != grid.channels:
        raise V2LError(f"got code_width {settings.code_width} for words of width {grid.channels}", "the same")
    return GridShape(grid.channels, grid.factor)
