"""photographs ──► their reconstructions by every method: from tokens, through codecs, downsampled.

All work on the same square crops in 8 bits a channel. The codecs get no fewer bytes than the tokens cost: a
local token the logarithm of the local codebook's size, a global word that of the global one's. Controls: the
same local tokens decoded with the global words of another photograph, and a second checkpoint that was
trained without global words.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.evaluation.codecs import CODECS, compress_all, shrink
from v2l.images import Skipped, load_images
from v2l.sources import ImageFile
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.tokens import ImageTokens

MIN_SIDE = 32  # pixels: the coarsest features of the metrics need as many
OWN, SHUFFLED, WITHOUT, SHRUNK = (
    "v2l",
    "v2l, another photograph's words",
    "v2l, trained without words",
    "shrunk to the grid",
)


@dataclass(frozen=True)
class Cost:
    """What the tokens of one photograph cost, in bytes.

    Attributes:
        local_tokens: how many local tokens.
        global_tokens: how many global words.
        local_bytes: each local token at log2 of the local codebook's size.
        global_bytes: each global word at log2 of the global codebook's size.
    """

    local_tokens: int
    global_tokens: int
    local_bytes: float
    global_bytes: float

    @property
    def total(self) -> float:
        """What the codecs may spend."""
        return self.local_bytes + self.global_bytes


class Crops(NamedTuple):
    """Some photographs, read."""

    files: list[str]
    crops: Tensor  # (B, 3, S, S) in [0, 1], 8 bits a channel: what is compared
    whole: Tensor  # (B, 3, E, E) in [0, 1]: what the joint encoder sees


class ReconstructedImages(NamedTuple):
    """The crops, reconstructed by one method."""

    images: Tensor  # (B, 3, S, S) in [0, 1], 8 bits a channel
    sizes: list[float]  # bytes of each


class Reconstructions(NamedTuple):
    """The crops, reconstructed by all methods."""

    rows: dict[str, ReconstructedImages]
    local_rows: Tensor  # (B, h, w) int64, rows of the local codebook
    global_ids: Tensor  # (B, G) int64


class ReconstructionMethods:
    """The methods that are compared.

    Args:
        tokenizer: the checkpoint that is measured.
        without: a checkpoint whose decoder reads no global words, or None.
        size: side of the crops.

    Raises:
        V2LError: the size does not fit the grid, or `without` reads global words.
    """

    def __init__(self, tokenizer: V2LTokenizer, without: V2LTokenizer | None = None, size: int = 128) -> None:
        if size % tokenizer.factor or size < MIN_SIDE:
            allowed = f"a multiple of {tokenizer.factor}, from {MIN_SIDE} up"
            raise V2LError(
                f"got crops of {size} pixels", allowed, f"--size {tokenizer.config.model.image_size}"
            )
        if without is not None and without.config.model.cross_attention:
            raise V2LError(
                "the checkpoint --without reads global words",
                "one trained with model.cross_attention: false",
                "v2l train",
            )
        self.tokenizer, self.without, self.size = tokenizer, without, size
        cells, words = (size // tokenizer.factor) ** 2, tokenizer.config.model.global_tokens
        bits = (
            math.log2(len(codebook)) for codebook in (tokenizer.local_codebook, tokenizer.global_codebook)
        )
        self.cost = Cost(
            cells, words, *(count * width / 8 for count, width in zip((cells, words), bits, strict=True))
        )

    def read(self, files: Sequence[ImageFile], skipped: Skipped) -> Crops:
        """The readable ones of some files, one image in full size at a time."""
        names, crops, whole = [], [], []
        for file, image in load_images(files, skipped):
            names.append(str(file))
            crops.append(in_8_bits(self.tokenizer.square(image[None], self.size)[0]))
            whole.append(self.tokenizer.joint_encoder.prepare(image))
        return Crops(names, *(torch.stack(images) if images else torch.empty(0) for images in (crops, whole)))

    def reconstruct(self, crops: Crops, words_before: Tensor) -> Reconstructions:
        """The reconstructions of every method.

        Args:
            crops: B ≥ 1 photographs.
            words_before: (G,) int64, the global words of the photograph before them, which stand in for those
                of the first.
        """
        tokenizer, images = self.tokenizer, crops.crops
        tokens = ImageTokens(
            tokenizer.global_tokens(crops.whole)[1].cpu(), tokenizer.encode_local(images).cpu()
        )
        others = torch.cat([words_before[None], tokens.global_ids[:-1]])
        cost = self.cost
        rows = {
            OWN: self._decoded(tokenizer, tokens, cost.total),
            SHUFFLED: self._decoded(tokenizer, ImageTokens(others, tokens.local_ids), cost.total),
        }
        if self.without is not None:
            unread = ImageTokens(torch.zeros_like(others), self.without.encode_local(images).cpu())
            rows[WITHOUT] = self._decoded(self.without, unread, cost.local_bytes)
        rows |= {codec: ReconstructedImages(*compress_all(images, codec, cost.total)) for codec in CODECS}
        height, width = tokens.local_ids.shape[1:]
        rows[SHRUNK] = ReconstructedImages(
            in_8_bits(shrink(images, (height, width))), [3.0 * height * width] * len(images)
        )
        known = tokenizer.local_codebook.row_of_token
        local_rows = torch.tensor([known[token_id] for token_id in tokens.local_ids.flatten().tolist()])
        return Reconstructions(rows, local_rows.view(tokens.local_ids.shape), tokens.global_ids)

    @staticmethod
    def _decoded(tokenizer: V2LTokenizer, tokens: ImageTokens, size: float) -> ReconstructedImages:
        return ReconstructedImages(in_8_bits(tokenizer.decode(tokens).cpu()), [size] * len(tokens))


def in_8_bits(images: Tensor) -> Tensor:
    """Images in [0, 1] as a file without loss would keep them."""
    return images.clamp(0, 1).mul(255).round().div(255)
