"""images, or their files ──► their words, and their vectors in the joint space.

Any tokenizer that gives words can be used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.images import load_image
from v2l.pipeline.vector_cache import VectorStore, digest_of, encode_files
from v2l.progress import Progress
from v2l.tokenizers.contract import ImageTokenizer, refusal, require_words
from v2l.tokenizers.word_tagger import WordTagger, check_selection

BATCH = 16  # images that are encoded at once


@dataclass(frozen=True)
class ImageWords:
    """One image as prompts and baselines see it.

    Attributes:
        words: words of the whole image, the best first.
        joint_vector: (D,) of unit length in the joint space, on the CPU; None if the tokenizer has no such
            space.
    """

    words: tuple[str, ...]
    joint_vector: Tensor | None = None

    @property
    def vector(self) -> Tensor:
        """(D,) of unit length, in the joint space.

        Raises:
            V2LError: the tokenizer has no joint space of images and texts.
        """
        if self.joint_vector is None:
            raise V2LError(
                "the image has words but no vector in a joint space of images and texts",
                "a tokenizer with a joint encoder",
                "--tokenizer v2l",
            )
        return self.joint_vector


@dataclass(frozen=True)
class WordSelection:
    """Which words an image gets.

    Attributes:
        count: how many.
        how: "nearest", the paper's: those nearest to the image; "together": those whose vectors sum up to its
            vector. A tokenizer whose words do not come from a codebook has one list, whatever this says.
    """

    count: int = 21
    how: str = "together"

    def __post_init__(self) -> None:
        check_selection(self.how)
        if self.count < 1:
            raise V2LError(f"got {self.count} words an image", "1 word and more", "--words 21")

    def words(self, tokenizer: ImageTokenizer, vectors: Tensor) -> list[tuple[str, ...]]:
        """The words of images whose vectors (B, D) are known.

        Raises:
            V2LError: the codebook has fewer words, or the tokenizer's words do not come from vectors.
        """
        return self.words_by(tagger_of(tokenizer), vectors)

    def words_by(self, tagger: WordTagger, vectors: Tensor) -> list[tuple[str, ...]]:
        """As `words`, by a word tagger."""
        chosen = tagger.words(vectors, self.count, self.how)
        return [tuple(word.word for word in words) for words in chosen]


def tagger_of(tokenizer: ImageTokenizer) -> WordTagger:
    """The tokenizer's word tagger.

    Raises:
        V2LError: its words do not come from one.
    """
    if tokenizer.tagger is None:
        raise refusal(tokenizer.NAME, "words", "choosing words by vectors")
    return tokenizer.tagger


def read_image_words(
    tokenizer: ImageTokenizer,
    paths: Iterable[Path],
    choice: WordSelection,
    progress: Progress | None = None,
) -> dict[Path, ImageWords]:
    """Read each image once; vectors of images that were encoded before come from the user's cache.

    Args:
        tokenizer: any tokenizer that gives words.
        paths: image files; a path that comes twice is read once.
        choice: which words they get.
        progress: called after every batch.

    Raises:
        V2LError: the tokenizer gives no words, a file is no readable image, the codebook has fewer words, or
        the cache cannot
            be used.
    """
    require_words(tokenizer, "the words of images")
    distinct = list(dict.fromkeys(paths))
    found: dict[Path, ImageWords] = {}
    for start in range(0, len(distinct), BATCH):
        batch = distinct[start : start + BATCH]
        found |= dict(zip(batch, _read_batch(tokenizer, batch, choice), strict=True))
        if progress:
            progress("images", len(found), len(distinct))
    return found


def words_of_images(
    tokenizer: ImageTokenizer, images: Sequence[Tensor], choice: WordSelection
) -> list[ImageWords]:
    """The words and vectors of loaded images (3, H, W) of any sizes, without the cache.

    Raises:
        V2LError: the tokenizer gives no words, or its codebook has fewer.
    """
    require_words(tokenizer, "the words of images")
    if tokenizer.tagger is not None:
        encoder = tokenizer.tagger.joint_encoder(tokenizer.device)
        vectors = encoder.encode_images(torch.stack([encoder.prepare(image) for image in images]))
        return _paired(choice.words_by(tokenizer.tagger, vectors), vectors)
    return [_words_of(tokenizer, image, choice) for image in images]


def vectors_of(tokenizer: ImageTokenizer, paths: Sequence[Path]) -> Tensor:
    """Image vectors (B, D) float32 of unit length, on the CPU.

    They come from the cache. A vector that is not there is computed and added.

    Raises:
        V2LError: the tokenizer has no word tagger, a file is no readable image, or the cache cannot be used.
    """
    tagger = tagger_of(tokenizer)
    store = VectorStore(tagger.codebook.source.encoder_fingerprint)
    digests = [digest_of(path) for path in paths]
    known = store.find(digests)
    new = {digest: path for digest, path in zip(digests, paths, strict=True) if digest not in known}
    if new:
        encoded = encode_files(tagger.joint_encoder(tokenizer.device), list(new.values()))
        fresh = dict(zip(new, encoded, strict=True))
        store.keep(fresh)
        known |= fresh
    return torch.stack([known[digest] for digest in digests])


def _read_batch(tokenizer: ImageTokenizer, paths: Sequence[Path], choice: WordSelection) -> list[ImageWords]:
    """The words of a few files: from cached vectors if a tagger decides the words, else from the images."""
    if tokenizer.tagger is None:
        return [_words_of(tokenizer, load_image(path), choice) for path in paths]
    vectors = vectors_of(tokenizer, paths)
    return _paired(choice.words_by(tokenizer.tagger, vectors.to(tokenizer.device)), vectors)


def _paired(words: Sequence[tuple[str, ...]], vectors: Tensor) -> list[ImageWords]:
    """Words of B images and their vectors (B, D) ──► one record an image."""
    return [ImageWords(*pair) for pair in zip(words, vectors.cpu(), strict=True)]


def _words_of(tokenizer: ImageTokenizer, image: Tensor, choice: WordSelection) -> ImageWords:
    """The words of one image (3, H, W) by a tokenizer whose words do not come from a joint vector alone."""
    tagged = tokenizer.image_words(image[None], choice.count, choice.how)
    words = tuple(word.word for word in tagged.words[0])
    return ImageWords(words, None if tagged.vectors is None else tagged.vectors[0].cpu())
