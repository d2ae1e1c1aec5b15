"""image + how far to each side ──► a larger image: the frozen LLM tells what lies beyond the edges.

Blind by nature, and inpainting of the border: nothing but grey is there before the LLM tells it.
Source: V2L Tokenizer, arXiv 2403.07874, section 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.restoration.inpaint import MID_GREY, Inpainted, Progress, inpaint
from v2l.tasks.restoration.token_prediction import RestorationSettings


@dataclass(frozen=True)
class Border:
    """How far an image grows, in pixels.

    Attributes:
        left: at its left edge.
        top: above it.
        right: at its right edge.
        bottom: below it.
    """

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def __post_init__(self) -> None:
        sides = (self.left, self.top, self.right, self.bottom)
        if min(sides) < 0 or max(sides) == 0:
            got = ", ".join(
                f"{name} {side}" for name, side in zip(("left", "top", "right", "bottom"), sides, strict=True)
            )
            raise V2LError(
                f"got a border of {got} pixels", "0 and more, and at least one side above 0", "--right 64"
            )


def outpaint(
    pipeline: Pipeline,
    image: Tensor,
    border: Border,
    settings: RestorationSettings | None = None,
    progress: Progress | None = None,
    examples: Sequence[Tensor] = (),
) -> Inpainted:
    """Paint around an image; its own pixels stay as they are, bit by bit.

    Args:
        pipeline: tokenizer and LLM.
        image: (3, H, W) float32 in [0, 1].
        border: how far.
        settings: how the LLM is asked.
        progress: told (windows done, windows in all) after each window.
        examples: other images (3, H, W), which may serve as examples.

    Raises:
        V2LError: the prompt is longer than the LLM's context.
    """
    canvas, mask = on_canvas(image, border)
    return inpaint(pipeline, canvas, mask, settings, progress, examples)


def on_canvas(image: Tensor, border: Border) -> tuple[Tensor, Tensor]:
    """The image on a grey canvas (3, H + top + bottom, W + left + right), and the mask of what is new, bool of that size."""
    height, width = image.shape[-2:]
    size = (height + border.top + border.bottom, width + border.left + border.right)
    canvas, mask = torch.full((3, *size), MID_GREY), torch.ones(size, dtype=torch.bool)
    inside = (slice(border.top, border.top + height), slice(border.left, border.left + width))
    canvas[:, *inside], mask[inside] = image, False
    return canvas, mask
