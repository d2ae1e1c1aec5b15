"""image + border ──► larger image: the frozen LLM predicts the tokens beyond the edges.

Outpainting is inpainting of the border, and blind: the border is grey until the LLM has predicted it.
Source: V2L Tokenizer, arXiv 2403.07874, section 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.pipeline.pipeline import Pipeline
from v2l.progress import Progress
from v2l.tasks.restoration.inpaint import MID_GREY, Inpainted, inpaint
from v2l.tasks.restoration.settings import RestorationSettings


@dataclass(frozen=True)
class Border:
    """Pixels that an image grows by at each edge.

    Raises:
        V2LError: a side is below 0, or all are 0.
    """

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def __post_init__(self) -> None:
        sides = asdict(self)
        if min(sides.values()) < 0 or max(sides.values()) == 0:
            border = ", ".join(f"{name} {side}" for name, side in sides.items())
            allowed = "0 and more, and at least one side above 0"
            raise V2LError(f"got a border of {border} pixels", allowed, "--right 64")


def outpaint(
    pipeline: Pipeline,
    image: Tensor,
    border: Border,
    settings: RestorationSettings | None = None,
    progress: Progress | None = None,
    examples: Sequence[Tensor] = (),
) -> Inpainted:
    """Fill a border around an image; its own pixels stay bit-equal.

    Args:
        pipeline: tokenizer and LLM.
        image: (3, H, W) float32 in [0, 1].
        border: its width at each edge.
        settings: as `inpaint`.
        progress: as `inpaint`.
        examples: other images (3, H, W), a source of examples.

    Raises:
        V2LError: a prompt is longer than the LLM's context.
    """
    canvas, mask = on_canvas(image, border)
    return inpaint(pipeline, canvas, mask, settings, progress, examples)


def on_canvas(image: Tensor, border: Border) -> tuple[Tensor, Tensor]:
    """Put an image on a grey canvas.

    Returns:
        the canvas (3, H + top + bottom, W + left + right), and the mask of the border, bool of that size.
    """
    height, width = image.shape[-2:]
    size = (height + border.top + border.bottom, width + border.left + border.right)
    canvas, mask = torch.full((3, *size), MID_GREY), torch.ones(size, dtype=torch.bool)
    inside = (slice(border.top, border.top + height), slice(border.left, border.left + width))
    canvas[:, *inside], mask[inside] = image, False
    return canvas, mask
