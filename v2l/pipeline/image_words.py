"""image files ──► their global words and their vectors, each image read once for all episodes and all runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from v2l.codebook.matching_pursuit import words_together
from v2l.errors import V2LError
from v2l.pipeline.vector_cache import VectorStore, digest_of, encode_files
from v2l.tokenizers.grid.model import V2LTokenizer

BATCH = 16
Progress = Callable[[str, int, int], None]
"""Called with the step's name, how many items are done, and how many there are."""


@dataclass(frozen=True)
class ImageWords:
    """One image as the LLM and as the baselines see it.

    Attributes:
        words: global words, nearest first.
        vector: (D,) of unit length, in the joint space.
    """

    words: tuple[str, ...]
    vector: Tensor


@dataclass(frozen=True)
class WordSelection:
    """Which words an image gets.

    Attributes:
        count: how many.
        how: "nearest", the paper's: those nearest to the image; "together": those that make up its vector together.
    """

    count: int = 21
    how: str = "together"

    def __post_init__(self) -> None:
        if self.how not in WAYS:
            raise V2LError(f"got the choice of words {self.how!r}", ", ".join(WAYS), "--choice together")
        if self.count < 1:
            raise V2LError(f"got {self.count} words an image", "1 word and more", "--words 21")

    def words(self, tokenizer: V2LTokenizer, vectors: Tensor) -> list[tuple[str, ...]]:
        """The words of images whose vectors (B, D) are known.

        Raises:
            V2LError: the codebook has fewer words.
        """
        words = tokenizer.global_codebook.words
        return [
            tuple(words[row] for row in rows)
            for rows in WAYS[self.how](tokenizer, vectors, self.count).tolist()
        ]


def nearest(tokenizer: V2LTokenizer, vectors: Tensor, count: int) -> Tensor:
    """(B, D) ──► (B, count) rows of the global codebook in the checkpoint's own ranking."""
    return tokenizer.nearest_words(vectors, count)[1]


def together(tokenizer: V2LTokenizer, vectors: Tensor, count: int) -> Tensor:
    """(B, D) ──► (B, count) rows of the global codebook that make up the vectors together."""
    return words_together(tokenizer.global_codebook, vectors, count)


WAYS = {"together": together, "nearest": nearest}


def read_image_words(
    tokenizer: V2LTokenizer, paths: Iterable[Path], choice: WordSelection, progress: Progress | None = None
) -> dict[Path, ImageWords]:
    """Read each image once; images that were encoded before come from the user's cache.

    Args:
        tokenizer: its joint encoder and its global codebook.
        paths: image files; doubles are read once.
        choice: which words they get.
        progress: told after every batch.

    Raises:
        V2LError: a file is no readable image, or the codebook has fewer words, or the cache cannot be used.
    """
    distinct = list(dict.fromkeys(paths))
    found: dict[Path, ImageWords] = {}
    for start in range(0, len(distinct), BATCH):
        batch = distinct[start : start + BATCH]
        vectors = vectors_of(tokenizer, batch)
        words = choice.words(tokenizer, vectors.to(tokenizer.device))
        found |= {path: ImageWords(*read) for path, *read in zip(batch, words, vectors, strict=True)}
        if progress:
            progress("images", len(found), len(distinct))
    return found


def vectors_of(tokenizer: V2LTokenizer, paths: Sequence[Path]) -> Tensor:
    """(B, D) float32 of unit length, on the CPU: kept ones, and the others encoded now and kept.

    Raises:
        V2LError: a file is no readable image, or the cache cannot be used.
    """
    store = VectorStore(tokenizer.global_codebook.source.encoder_fingerprint)
    digests = [digest_of(path) for path in paths]
    known = store.find(digests)
    new = {digest: path for digest, path in zip(digests, paths, strict=True) if digest not in known}
    if new:
        fresh = dict(zip(new, encode_files(tokenizer.joint_encoder, list(new.values())), strict=True))
        store.keep(fresh)
        known |= fresh
    return torch.stack([known[digest] for digest in digests])
