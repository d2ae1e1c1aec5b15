"""images, image patches and texts ──► unit vectors in one space.

Frozen: every weight. Source: CLIP, arXiv 2103.00020, section 2.3; V2L Tokenizer, arXiv 2403.07874, section
3.1.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as transforms

from v2l.errors import V2LError
from v2l.images import LONGEST_SHAPE, centre_crop, resize

# Templates that a word is put into before it is embedded, by the name that a codebook records.
PHOTO_TEMPLATE = ("a photo of a {}",)


class JointEncoder(nn.Module, ABC):
    """A frozen encoder of images and texts into one space.

    Attributes:
        name: the name that loads it again.
        dim: D, width of the joint space.
        image_size: side in pixels of the square that the image half sees.
        templates: sentences with one `{}` that words are put into by default.
        fingerprint: hash of weights, activation and preprocessing; equal fingerprints give equal vectors.
    """

    name: str
    dim: int
    image_size: int
    templates: tuple[str, ...]
    fingerprint: str

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode even if a parent module is trained, because the encoder is frozen."""
        return super().train(False)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @abstractmethod
    def prepare(self, image: Tensor) -> Tensor:
        """Resize and crop one image (3, H, W) in [0, 1] as the image encoder expects: (3, S, S).

        S is `image_size`; the result is in [0, 1].
        """

    @abstractmethod
    def encode_images(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) float32 in [0, 1], any size ──► (B, D) float32, unit length."""

    def encode_patches(self, images: Tensor, side: int | None = None) -> Tensor:
        """Vectors of the parts of images in the joint space.

        Args:
            images: (B, 3, H, W) float32 in [0, 1].
            side: None takes the square that `prepare` gives. A number takes the whole image, resized so that
                its shorter side has about so many pixels; a larger side gives more patches.

        Returns:
            (B, h, w, D) float32, unit length, raster order.

        Raises:
            V2LError: the encoder has no features of patches.
        """
        return self.to_joint_space(self.patch_features(images, side))

    def patch_features(self, images: Tensor, side: int | None = None) -> Tensor:
        """The features behind `encode_patches`: (B, h, w, C) float32, before the joint space.

        Their mean over a region, through `to_joint_space`, is the vector of the region.

        Raises:
            V2LError: the encoder has none.
        """
        raise no_patches(self.name)

    def feature_levels(self, images: Tensor, side: int | None = None) -> tuple[Tensor, ...]:
        """The maps of one pass: first `patch_features`, then those of earlier stages, which are finer.

        Returns:
            (B, h, w, C) float32 each; h, w and C differ. By default there is no earlier stage.

        Raises:
            V2LError: the encoder has no features of patches.
        """
        return (self.patch_features(images, side),)

    def to_joint_space(self, features: Tensor) -> Tensor:
        """Patch features, or means of them, (…, C) on any device ──► (…, D) float32, unit length.

        Gradients pass.
        """
        raise no_patches(self.name)

    @abstractmethod
    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """N texts ──► (N, D) float32, unit length."""

    @abstractmethod
    def tokenize_texts(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """N texts ──► the token ids that the text half reads; equal ids mean equal vectors."""

    def in_template(self, template: str) -> Callable[[Sequence[str]], Tensor]:
        """An encoder of words inside one sentence template: N words ──► (N, D) float32, unit length.

        Sentences with equal token ids are encoded once. Encoders with a causal text half also run the
        beginning of the sentence only once for all words.
        """

        def encode(words: Sequence[str]) -> Tensor:
            texts = [template.format(word) for word in words]
            return encode_distinct(
                self.tokenize_texts(texts),
                lambda places: self.encode_texts([texts[place] for place in places]),
            )

        return encode

    def image_weights(self) -> dict[str, Tensor]:
        """The weights of the image half, by the names of its own architecture."""
        raise V2LError(
            f"{self.name} is no CLIP", "an encoder of open_clip", "--encoder openclip:ViT-L-14/openai"
        )

    def prepare_batch(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) ──► (B, 3, S, S), both in [0, 1]; a prepared batch passes unchanged."""
        if images.shape[-2:] == (self.image_size, self.image_size):
            return images.to(self.device)
        return torch.stack([self.prepare(image) for image in images.to(self.device)])


def no_patches(name: str) -> V2LError:
    """The line for an encoder without features of patches."""
    return V2LError(
        f"the encoder {name} has no features of patches", "conse, or a ViT of open_clip", "v2l doctor"
    )


def encode_distinct(readings: Sequence[tuple[int, ...]], encode: Callable[[list[int]], Tensor]) -> Tensor:
    """Encode each distinct reading once; equal readings share its vector.

    Args:
        readings: N token sequences.
        encode: P indices, the first of each distinct reading ──► (P, D).

    Returns:
        (N, D), with the dtype of `encode`.
    """
    # Reversed, so that the first index of each reading is written last and is kept.
    first = {reading: place for place, reading in reversed(list(enumerate(readings)))}
    places = sorted(first.values())
    row = {readings[place]: number for number, place in enumerate(places)}
    return encode(places)[[row[reading] for reading in readings]]


def resize_shorter_side(image: Tensor, size: int, interpolation: InterpolationMode) -> Tensor:
    """(3, H, W) in [0, 1] ──► (3, h, w) in [0, 1] with min(h, w) = `size`, antialiased."""
    # Of an extremely long image only the middle is used, because its resized copy would fill the memory.
    longest = LONGEST_SHAPE * min(image.shape[-2:])
    image = centre_crop(image, (longest, longest))
    resized: Tensor = transforms.resize(image, [size], interpolation=interpolation, antialias=True)
    return resized.clamp(0, 1)


def resize_whole(images: Tensor, side: int, stride: int) -> Tensor:
    """(B, 3, H, W) in [0, 1], none of it cropped ──► (B, 3, h · stride, w · stride), antialiased bicubic.

    Args:
        images: of any size; an extremely long one is squashed to 4 : 1, because its features would fill the
            memory.
        side: pixels that the shorter side has afterwards, rounded to a multiple of `stride`.
        stride: pixels a side of one patch.
    """
    shorter = min(images.shape[-2:])
    sides = (min(edge / shorter, LONGEST_SHAPE) * side / stride for edge in images.shape[-2:])
    height, width = (max(1, round(patches)) * stride for patches in sides)
    return resize(images, (height, width))


def fingerprint_of(state: Mapping[str, Tensor], *settings: str) -> str:
    """A short hash of weights and of the settings that they are used with.

    Args:
        state: tensors by name; every byte counts, in the order of the names.
        settings: activation, preprocessing, templates: everything else that changes the vectors.

    Returns:
        16 hexadecimal digits of a SHA-256.
    """
    digest = hashlib.sha256("\n".join(settings).encode())
    for key in sorted(state):
        tensor = state[key].detach().cpu().contiguous()
        digest.update(f"{key}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
