"""an image and boxes ──► what a joint encoder sees in each box, its vector and its words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from v2l.encoders import JointEncoder
from v2l.images import resize
from v2l.places import Box
from v2l.tokenizers.word_tagger import WordTagger
from v2l.tokens import Word

VIEWS = 16  # views in memory at once


def encode_boxes(encoder: JointEncoder, image: Tensor, boxes: Sequence[Box]) -> Tensor:
    """The vector of each part of an image, in bounded memory.

    Args:
        encoder: reads squares of S × S pixels.
        image: (3, H, W) float32 in [0, 1].
        boxes: N, in shares of the image's sides.

    Returns:
        (N, D) float32 of unit length.
    """
    parts = [
        encoder.encode_images(torch.stack([view(image, box, encoder.image_size) for box in batch]))
        for batch in _batches(boxes)
    ]
    return torch.cat(parts)


def name_boxes(
    namer: WordTagger, image: Tensor, boxes: Sequence[Box], count: int, device: torch.device
) -> tuple[tuple[Word, ...], ...]:
    """The words of each part of an image (3, H, W): `count` of them, nearest first."""
    vectors = encode_boxes(namer.joint_encoder(device), image, boxes)
    return namer.words(vectors, count)


def view(image: Tensor, box: Box, side: int) -> Tensor:
    """One part of an image (3, H, W), resized to (3, side, side); nothing of it is cropped off."""
    return resize(cut(image, box), (side, side))


def cut(image: Tensor, box: Box) -> Tensor:
    """The pixels of a box, at least one: (3, H, W) ──► (3, h, w), without a copy."""
    height, width = image.shape[-2:]
    left, right = _span(box[0], box[2], width)
    top, bottom = _span(box[1], box[3], height)
    return image[:, top:bottom, left:right]


def _span(low: float, high: float, pixels: int) -> tuple[int, int]:
    first = min(max(0, round(low * pixels)), pixels - 1)
    return first, min(pixels, max(first + 1, round(high * pixels)))


def _batches(boxes: Sequence[Box]) -> Iterator[Sequence[Box]]:
    return (boxes[start : start + VIEWS] for start in range(0, len(boxes), VIEWS))
