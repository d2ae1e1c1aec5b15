"""image files ──► their global words and their vectors, each file read once for all episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from v2l.images import load_image
from v2l.tokenizer.model import V2LTokenizer

BATCH = 16
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ReadImage:
    """One image as the LLM and as the baselines see it.

    Attributes:
        words: global words, nearest first.
        vector: (D,) of unit length, in the joint space.
    """

    words: tuple[str, ...]
    vector: Tensor


def read_images(tokenizer: V2LTokenizer, paths: Iterable[Path], n_words: int, progress: Progress | None = None) -> dict[Path, ReadImage]:
    """Read each image once.

    Args:
        tokenizer: its joint encoder and its global codebook.
        paths: image files; doubles are read once.
        n_words: global words of each image.
        progress: told (images done, images in all) after every batch.

    Raises:
        V2LError: a file is no readable image, or the codebook has fewer words.
    """
    distinct = list(dict.fromkeys(paths))
    found: dict[Path, ReadImage] = {}
    for start in range(0, len(distinct), BATCH):
        batch = distinct[start : start + BATCH]
        found |= zip(batch, read_batch(tokenizer, batch, n_words), strict=True)
        if progress:
            progress(len(found), len(distinct))
    return found


def read_batch(tokenizer: V2LTokenizer, paths: list[Path], n_words: int) -> list[ReadImage]:
    """Some images together."""
    encoder, codebook = tokenizer.joint_encoder, tokenizer.global_codebook
    vectors = encoder.encode_images(torch.stack([encoder.prepare(load_image(path)) for path in paths]))  # (B, D)
    _, rows = codebook.nearest_distinct(vectors, n_words)
    words = [tuple(codebook.words[row] for row in image) for image in rows.tolist()]
    return [ReadImage(*image) for image in zip(words, vectors.cpu(), strict=True)]
