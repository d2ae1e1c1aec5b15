"""image ⇄ tokens: what one batch of images is, written in words of the LLM's vocabulary.

Plain data. Global tokens are rows of the global codebook (words, bigrams, trigrams); local tokens are token ids of the frozen
LLM, one per cell of the grid. Source: V2L Tokenizer, arXiv 2403.07874, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # prompts read these types without waiting for torch
    from torch import Tensor


@dataclass(frozen=True)
class Word:
    """One global token of one image, as people and prompts read it.

    Attributes:
        word: the surface form, without the space in front of it ("fire truck").
        ids: its token ids in the LLM's vocabulary, one per piece.
        score: cosine of the image's and the word's embeddings, in [-1, 1].
    """

    word: str
    ids: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class ImageTokens:
    """The tokens of B images.

    Attributes:
        global_ids: (B, G) int64, rows of the global codebook, nearest first.
        local_ids: (B, h, w) int64, token ids of the LLM in raster order.
        words: per image its G global words, nearest first; the same tokens as `global_ids`, readable.
    """

    global_ids: Tensor
    local_ids: Tensor
    words: tuple[tuple[Word, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.local_ids)

    def __getitem__(self, index: int) -> ImageTokens:
        """The tokens of one image, still with a batch axis: B = 1."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        start = index % len(self)
        rows = slice(start, start + 1)
        return ImageTokens(self.global_ids[rows], self.local_ids[rows], self.words[rows])

    def with_local_ids(self, local_ids: Tensor) -> ImageTokens:
        """The same images with other local tokens, (B, h, w) int64: what restoration changes."""
        return replace(self, local_ids=local_ids)

    def strings(self, image: int = 0, count: int | None = None) -> Sequence[str]:
        """The first `count` global words of one image, as strings."""
        return [word.word for word in self.words[image][:count]]
