"""an image's size and what its encoder sees of it ──► a note when there is too little to see for words.

Three rules. The size: a few pixels, enlarged, are a blur. The shape: of a sliver the encoder sees a small
part. The content: one colour or an even gradient shows nothing, whatever its size. The thresholds were chosen
and measured with `benchmarks/visibility.py`; docs/visibility.md has the false alarms.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MIN_SIDE = 8  # pixels of the shorter side, as the smallest icons of a desktop theme have; most have 16
MAX_RATIO = 8  # longer side : shorter side; an encoder that sees the central square sees an eighth of it
TOLERANCE = 16  # of 255: hides noise of a standard deviation of 3, JPEG's traces, and steps of a gradient
MIN_DETAIL = 0.0001  # share of pixels: 7 of a view of 260 × 260; the least drawing that was measured has 12
GUESS = "the words are a guess"


class Visibility(NamedTuple):
    """How much there is to see in an image.

    Attributes:
        height: of the image, in pixels.
        width: of the image, in pixels.
        detail: share of the pixels that differ from an even colour gradient, in the part that is seen.
    """

    height: int
    width: int
    detail: float

    @property
    def note(self) -> str | None:
        """One line that says what came and what is needed; None when there is enough to see."""
        reason = self.size_reason or self.shape_reason or self.content_reason
        return reason and f"little to see: {reason}; {GUESS}"

    @property
    def size_reason(self) -> str | None:
        """What came and what is needed when the shorter side is too short; else None."""
        if min(self.height, self.width) >= MIN_SIDE:
            return None
        return f"{self.width} × {self.height} pixels, at least {MIN_SIDE} × {MIN_SIDE} are needed"

    @property
    def shape_reason(self) -> str | None:
        """What came and what is needed when one side is many times the other; else None."""
        longer, shorter = max(self.height, self.width), min(self.height, self.width)
        if longer <= MAX_RATIO * shorter:
            return None
        size = f"{self.width} × {self.height} pixels"
        return f"{size}, which is {longer / shorter:.1f}:1, at most {MAX_RATIO}:1 is needed"

    @property
    def content_reason(self) -> str | None:
        """What came and what is needed when the part that is seen is of one colour; else None."""
        if self.detail >= MIN_DETAIL:
            return None
        return (
            "the part that is read is one colour or an even gradient (pixels that differ by more than "
            f"{TOLERANCE} of 255: {self.detail:.2%}, needed: {MIN_DETAIL:.2%})"
        )


def measure_visibility(image: Tensor, seen: Tensor) -> Visibility:
    """How much there is to see in an image.

    Args:
        image: (3, H, W) in [0, 1].
        seen: (3, h, w) in [0, 1], what the encoder sees of it, resized and cropped.
    """
    return Visibility(image.shape[-2], image.shape[-1], detail_of(seen))


def detail_of(seen: Tensor) -> float:
    """The share of pixels that differ from an even colour gradient by more than `TOLERANCE` in any channel.

    The gradient is the plane a + b x + c y with the least squared error in each channel; an image of one
    colour has b = c = 0.

    Args:
        seen: (3, h, w) in [0, 1].
    """
    pixels = seen.detach().float()
    pixels = pixels - pixels.mean(dim=(1, 2), keepdim=True)
    height, width = pixels.shape[-2:]
    axes = (
        torch.linspace(-1, 1, height, device=pixels.device)[:, None].expand(height, width),
        torch.linspace(-1, 1, width, device=pixels.device).expand(height, width),
    )
    for axis in axes:  # they are orthogonal and have the mean 0, so that each slope is a projection
        centred = axis - axis.mean()  # not 0 for one row or one column
        norm = centred.square().mean()
        if norm > 0:
            pixels = pixels - (pixels * centred).mean(dim=(1, 2), keepdim=True) / norm * centred
    return (pixels.abs().amax(dim=0) > TOLERANCE / 255).float().mean().item()
