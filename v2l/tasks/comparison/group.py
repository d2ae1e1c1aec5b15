"""image files ──► a group: the words of each image, and vectors where the tokenizer has a joint space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.pipeline.image_words import ImageWords, WordSelection, read_image_words
from v2l.progress import Progress
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.word_tagger import WordTagger

OWN_WORDS = WordSelection(8, "nearest")  # words of each image in its own list


@dataclass(frozen=True)
class Group:
    """Several images, in the order in which they were given.

    Attributes:
        images: words and vector of each.
        tagger: codebook and joint encoder of the words; None if the tokenizer has none.
    """

    images: tuple[ImageWords, ...]
    tagger: WordTagger | None = None

    @property
    def vectors(self) -> Tensor | None:
        """(n, D) of unit length; None without a joint space."""
        vectors = [image.joint_vector for image in self.images if image.joint_vector is not None]
        return torch.stack(vectors) if len(vectors) == len(self.images) else None

    @property
    def notes(self) -> tuple[str, ...]:
        """Why there is too little to see in some of the images."""
        return tuple(image.note for image in self.images if image.note is not None)


def read_group(
    tokenizer: ImageTokenizer,
    files: Sequence[Path],
    least: int,
    choice: WordSelection = OWN_WORDS,
    progress: Progress | None = None,
) -> Group:
    """Read the images of a group.

    Args:
        tokenizer: any tokenizer that gives words.
        files: image files.
        least: how many images the task needs.
        choice: the words of each image.
        progress: called after every batch.

    Raises:
        V2LError: fewer images than needed, the tokenizer gives no words, or a file is no readable image.
    """
    found = read_image_words(tokenizer, check_size(files, least), choice, progress)
    return Group(tuple(found[file] for file in files), tokenizer.tagger)


def check_size(files: Sequence[Path], least: int) -> Sequence[Path]:
    """The files themselves, if they are enough to be compared.

    Raises:
        V2LError: they are fewer than `least`.
    """
    if len(files) < least:
        raise V2LError(
            f"got {len(files)} image{'s' * (len(files) != 1)}",
            f"{least} images and more, because they are compared with each other",
            "v2l words IMAGE for one image",
        )
    return files
