"""image ──► the same image through JPEG or WebP, in about as many bytes as its tokens take.

The quality is the lowest one whose whole file, headers included, is not smaller than the budget. So a codec
never gets fewer bytes than the tokens. If even the lowest quality takes more, that quality is used. Reports
hold the bytes that each file has.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from v2l.images import can_write, decode_image, encode_image

MAX_QUALITY = 100


@dataclass(frozen=True)
class Codec:
    """A codec of Pillow at its strongest.

    Attributes:
        options: of Pillow's `save`.
        steps: qualities that are tried between one whole number and the next; JPEG knows whole ones only.
    """

    options: Mapping[str, object]
    steps: int = 1


CODECS = {
    "WebP": Codec({"format": "WEBP", "method": 6}, steps=100),
    "JPEG": Codec({"format": "JPEG", "optimize": True}),
}


AVIF = Codec({"format": "AVIF", "speed": 4})  # Pillow has it only where it was built with it


def available_codecs() -> dict[str, Codec]:
    """The codecs of this machine's Pillow."""
    return CODECS | ({"AVIF": AVIF} if can_write("AVIF") else {})


class Compressed(NamedTuple):
    """One image through a codec."""

    image: Tensor  # (3, H, W) float32 in [0, 1]
    size: int  # bytes of the whole file
    quality: float  # 0 to 100


def compress(image: Tensor, codec: str, budget: float) -> Compressed:
    """The image at the lowest quality whose file is not smaller than `budget` bytes, found by bisection.

    If all files are smaller, the quality is the highest.

    Args:
        image: (3, H, W) in [0, 1].
        codec: a name of `available_codecs`.
        budget: bytes.
    """
    chosen = available_codecs()[codec]

    def file(step: int) -> bytes:
        quality = step if chosen.steps == 1 else step / chosen.steps
        return encode_image(image, quality=quality, **chosen.options)

    last = MAX_QUALITY * chosen.steps
    step = min(bisect_left(range(last + 1), budget, key=lambda step: len(file(step))), last)
    content = file(step)
    return Compressed(decode_image(content), len(content), step / chosen.steps)


def compress_all(images: Tensor, codec: str, budget: float) -> tuple[Tensor, list[float]]:
    """(B, 3, H, W) ──► the same through a codec, and the bytes of each."""
    through = [compress(image, codec, budget) for image in images.cpu()]
    return torch.stack([one.image for one in through]), [one.size for one in through]


def shrink(images: Tensor, grid: tuple[int, int]) -> Tensor:
    """(B, 3, H, W) ──► averaged to the size of the token grid, then enlarged by bicubic interpolation."""
    small = interpolate(images, size=grid, mode="area")
    return interpolate(small, size=images.shape[-2:], mode="bicubic").clamp(0, 1)
