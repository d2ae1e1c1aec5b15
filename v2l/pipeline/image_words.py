"""images, or their files ──► their words, and their vectors in the joint space.

Any tokenizer that gives words can be used.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.images import Skipped, load_image, load_images
from v2l.pipeline.vector_cache import VectorStore, digest_of, encode_files
from v2l.progress import Progress
from v2l.prompts.embeddings import Embeddings
from v2l.sources import ImageFile
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.needs import gives, refusal, require_words
from v2l.tokenizers.word_tagger import WordTagger, check_selection
from v2l.visibility import TOLERANCE, Visibility, measure_visibility

BATCH = 16  # images that are encoded at once


@dataclass(frozen=True)
class ImageWords:
    """One image as prompts and baselines see it.

    Attributes:
        words: words of the whole image, the best first.
        joint_vector: (D,) of unit length in the joint space, on the CPU; None if the tokenizer has no such
            space.
        note: why there is too little to see in the image for its words to mean something; None when there is
            enough.
        written: its words as a prompt writes them, with their places; empty if they have none.
        soft: its soft tokens, from a tokenizer of embeddings; None from a tokenizer of words.
    """

    words: tuple[str, ...]
    joint_vector: Tensor | None = None
    note: str | None = None
    written: tuple[str, ...] = ()

    soft: Embeddings | None = None

    @property
    def prompt_words(self) -> tuple[str, ...]:
        """The words as a prompt writes them."""
        return self.written or self.words

    @property
    def evidence(self) -> tuple[str, ...] | Embeddings:
        """What a prompt shows of the image: its soft tokens, or else its words."""
        return self.prompt_words if self.soft is None else self.soft

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
            the cache cannot be used.
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


def read_readable(
    tokenizer: ImageTokenizer,
    files: Sequence[ImageFile],
    choice: WordSelection,
    skipped: Skipped,
    progress: Progress | None = None,
) -> dict[ImageFile, ImageWords]:
    """The words of all readable files, without the cache; the others go into `skipped`.

    Raises:
        V2LError: the tokenizer gives no words, or its codebook has fewer.
    """
    found: dict[ImageFile, ImageWords] = {}
    opened = load_images(files, skipped)
    while batch := list(islice(opened, BATCH)):
        words = words_of_images(tokenizer, [image for _, image in batch], choice)
        found |= dict(zip([file for file, _ in batch], words, strict=True))
        if progress:
            progress("images", len(found) + len(skipped), len(files))
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
        views = [tokenizer.image_view(image) for image in images]
        vectors = tokenizer.tagger.joint_encoder(tokenizer.device).encode_images(torch.stack(views))
        measured = [measure_visibility(image, view) for image, view in zip(images, views, strict=True)]
        return _joined(choice.words_by(tokenizer.tagger, vectors), vectors, measured)
    return [_words_of(tokenizer, image, choice) for image in images]


def vectors_of(tokenizer: ImageTokenizer, paths: Sequence[Path]) -> tuple[Tensor, list[Visibility]]:
    """The vectors of images, and what there is to see in each.

    They come from the cache. A vector that is not there is computed and added.

    Returns:
        vectors (B, D) float32 of unit length, on the CPU, and one measurement for each image.

    Raises:
        V2LError: the tokenizer has no word tagger, a file is no readable image, or the cache cannot be used.
    """
    tagger = tagger_of(tokenizer)
    encoder = tagger.codebook.source.encoder_fingerprint
    vectors, measured = VectorStore(encoder), VectorStore(f"{encoder} visibility {TOLERANCE}")
    digests = [digest_of(path) for path in paths]
    known, seen = vectors.find(digests), measured.find(digests)
    new = {
        digest: path
        for digest, path in zip(digests, paths, strict=True)
        if digest not in known or digest not in seen
    }
    if new:
        encoded, fresh = encode_files(tagger.joint_encoder(tokenizer.device), list(new.values()))
        known |= dict(zip(new, encoded, strict=True))
        seen |= {digest: torch.tensor(values) for digest, values in zip(new, fresh, strict=True)}
        vectors.keep({digest: known[digest] for digest in new})
        measured.keep({digest: seen[digest] for digest in new})
    return torch.stack([known[digest] for digest in digests]), [
        Visibility(int(height), int(width), detail)
        for height, width, detail in (seen[digest].tolist() for digest in digests)
    ]


def _read_batch(tokenizer: ImageTokenizer, paths: Sequence[Path], choice: WordSelection) -> list[ImageWords]:
    """The words of a few files: from cached vectors if a tagger decides the words, else from the images."""
    if tokenizer.tagger is None:
        return [_words_of(tokenizer, load_image(path), choice) for path in paths]
    vectors, measured = vectors_of(tokenizer, paths)
    return _joined(choice.words_by(tokenizer.tagger, vectors.to(tokenizer.device)), vectors, measured)


def _joined(
    words: Sequence[tuple[str, ...]], vectors: Tensor, measured: Sequence[Visibility]
) -> list[ImageWords]:
    """Words of B images, their vectors (B, D) and what there is to see ──► one record an image."""
    return [
        ImageWords(chosen, vector, visibility.note)
        for chosen, vector, visibility in zip(words, vectors.cpu(), measured, strict=True)
    ]


def _words_of(tokenizer: ImageTokenizer, image: Tensor, choice: WordSelection) -> ImageWords:
    """The words of one image (3, H, W) by a tokenizer whose words do not come from a joint vector alone."""
    if gives(tokenizer, "embeddings"):
        return soft_tokens_of(tokenizer, image)
    tagged = tokenizer.image_words(image[None], choice.count, choice.how)
    words = tuple(word.word for word in tagged.words[0])
    vector = None if tagged.vectors is None else tagged.vectors[0].cpu()
    written = tagged.written[0] if tagged.written else ()
    return ImageWords(words, vector, tokenizer.visibility_note(image), written)


@torch.no_grad()
def soft_tokens_of(tokenizer: ImageTokenizer, image: Tensor) -> ImageWords:
    """The soft tokens of one image (3, H, W), with the nearest word of each.

    Raises:
        V2LError: the tokenizer gives no embeddings.
    """
    tokens = tokenizer.encode(image[None])
    if tokens.embeddings is None:
        raise refusal(tokenizer.NAME, "embeddings", "soft tokens")
    soft = tokens.embeddings[0, tokens.places(0)]
    words = tuple(word for word in tokenizer.token_words(tokens) if word)
    return ImageWords(words, note=tokenizer.visibility_note(image), soft=Embeddings(soft))
