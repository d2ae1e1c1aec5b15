"""places of images with captions or classes ──► the images' patch features and the sentences about them.

Features are computed once and memory-mapped, so that training costs the adapter and the LLM only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from random import Random
from typing import NamedTuple

from torch import Tensor

from v2l.captions import CaptionedImage, LeftOutCaptions, is_caption_file, read_captions
from v2l.datasets import ClassFolder
from v2l.encoders import JointEncoder
from v2l.encoders.patch_features import SHARD, patch_features
from v2l.errors import V2LError
from v2l.progress import Progress, silent
from v2l.shards import Shards
from v2l.sources import ImageFile, part_of
from v2l.training.data import epoch_order, files_fingerprint
from v2l.training.sentences import Sentence, caption_sentence, sentence_about
from v2l.zoo import cache_home

WATCHED, WATCHED_SHARE = 48, 20  # images that only watch the training: so many at most, one of so many


class ImageFeatures(NamedTuple):
    """What an adapter reads of one image.

    Attributes:
        values: (h, w, C) float32; (P, h, w, C) of an image that is read in parts.
        columns: of its grid of slices, 0 without one; None for an image that is read as a whole.
    """

    values: Tensor
    columns: int | None = None


@dataclass(frozen=True)
class CaptionedFeatures:
    """What an adapter is trained on.

    Attributes:
        images: n images with their captions or classes, all readable.
        features: (n, h, w, C) float16, memory-mapped.
        unreadable: files that were left out.
    """

    images: tuple[CaptionedImage, ...]
    features: Tensor
    unreadable: tuple[ImageFile, ...] = ()

    def read(self, place: int) -> ImageFeatures:
        """What an adapter reads of one image."""
        return ImageFeatures(self.features[place].float())

    def views(self, places: Sequence[int]) -> tuple[Tensor, list[int]]:
        """The features of all views of some images, (M, h, w, C), and the place of each view's image."""
        return self.features[list(places)], list(places)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, sorted; none for images with captions."""
        return tuple(sorted({image.label for image in self.images if image.label}))

    @property
    def fingerprint(self) -> str:
        """A hash of the images and of what is said about them."""
        digest = hashlib.sha256(files_fingerprint([image.file for image in self.images]).encode())
        for image in self.images:
            digest.update("\n".join((*image.captions, image.label)).encode(errors="surrogateescape"))
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Example:
    """One image with one sentence.

    Attributes:
        features: of the image.
        sentence: what is said.
        place: number of the image.
    """

    features: ImageFeatures
    sentence: Sentence
    place: int


@dataclass(frozen=True)
class Examples:
    """An endless sequence of examples, a function of the seed.

    Attributes:
        data: images, features, captions.
        places: numbers of the images that are used.
        seed: of the order of the images and of the choice of sentences.
    """

    data: CaptionedFeatures
    places: tuple[int, ...]
    seed: int = 0

    def example(self, number: int) -> Example:
        """The example with this number, from 0; each image comes once in an epoch."""
        epoch, offset = divmod(number, len(self.places))
        place = self.places[epoch_order(len(self.places), self.seed, epoch)[offset]]
        sentence = self.sentence(place, Random(f"{self.seed}/{number}"))
        return Example(self.data.read(place), sentence, place)

    def sentence(self, place: int, random: Random) -> Sentence:
        """A caption of an image, or a sentence about its class."""
        image = self.data.images[place]
        if image.captions:
            return caption_sentence(random.choice(image.captions))
        others = [name for name in self.data.classes if name != image.label]
        return sentence_about(image.label, others, random)


def split_examples(data: CaptionedFeatures, seed: int) -> tuple[Examples, Examples]:
    """Examples to train on, and examples of other images to watch the training with.

    One image in `WATCHED_SHARE` is watched, at most `WATCHED`; a single image is both.
    """
    count = min(WATCHED, len(data.images) // WATCHED_SHARE)
    order = Random(f"{seed}/watched").sample(range(len(data.images)), len(data.images))
    watched, trained = tuple(order[:count]), tuple(sorted(order[count:]))
    return Examples(data, trained, seed), Examples(data, watched or trained, seed)


def read_places(
    places: Sequence[str], images: Path | None, left_out: LeftOutCaptions
) -> list[CaptionedImage]:
    """The images of folders of classes and of caption files.

    Args:
        places: folders with one folder a class, with `@train` or `@eval` for a part; caption files.
        images: folder of the images that caption files name; None is each file's own.
        left_out: collects missing images and empty captions.

    Raises:
        V2LError: a place is neither, or gives no image.
    """
    found: list[CaptionedImage] = []
    for place in places:
        if is_caption_file(place):
            found += read_captions(place, images, left_out)
            continue
        folder, part = part_of(place)
        classes = ClassFolder.load(folder, part).classes
        found += [CaptionedImage(file, label=name) for name, files in classes.items() for file in files]
    return found


def drawn(images: Sequence[CaptionedImage], limit: int | None, seed: int) -> list[CaptionedImage]:
    """At most `limit` images, drawn by the seed, in their order."""
    if limit is None or limit >= len(images):
        return list(images)
    return [images[place] for place in sorted(Random(seed).sample(range(len(images)), limit))]


def read_features(
    encoder: JointEncoder, images: Sequence[CaptionedImage], progress: Progress = silent
) -> CaptionedFeatures:
    """Encode the patches of all images, or find them in the user's cache.

    Raises:
        V2LError: no image is readable, or the disk is full.
    """
    if not images:
        raise V2LError("got no images", "at least one image with a caption or a class")
    shards = Shards(cache_home() / "patches", "encoding patches", progress, SHARD)
    features, unreadable = patch_features(encoder, [image.file for image in images], shards)
    bad = set(unreadable)
    readable = tuple(image for image in images if image.file not in bad)
    return CaptionedFeatures(readable, features, tuple(unreadable))
