"""a user's boxes in pixels, checked ──► boxes in shares of the image; scored boxes ──► those that are kept.

Source of the suppression and its numbers: Groma, arXiv 2404.13013, section 3.1, and its released code.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchvision.ops import nms

from v2l.errors import V2LError

MOST = 100  # regions an image
OVERLAP = 0.6  # intersection over union above which the box with the lower score is dropped
LEAST_SCORE = 0.15
EXAMPLE = "--box 10,20,200,180"


@dataclass(frozen=True)
class ScoredBoxes:
    """N boxes with their scores.

    Attributes:
        boxes: (N, 4) float32: left, top, right and bottom in shares of the image's sides.
        scores: (N,) float32 in [0, 1]; a user's boxes have the score 1.
    """

    boxes: Tensor
    scores: Tensor

    def best(self, overlap: float = OVERLAP, least: float = LEAST_SCORE, most: int = MOST) -> Tensor:
        """The boxes that are kept: their numbers (K,) int64, the best score first.

        Boxes that overlap a better one are dropped. Of the others, those with a score above `least` are kept,
        at most `most`; if there is none, the best box.

        Args:
            overlap: intersection over union.
            least: score.
            most: boxes.
        """
        order: Tensor = nms(self.boxes, self.scores, overlap)  # best first
        good: Tensor = order[self.scores[order] > least][:most]
        return good if len(good) else order[:1]


def share_covered(one: Tensor, other: Tensor) -> float:
    """The common area of two boxes (4,), as a share of the smaller one."""
    sides = torch.minimum(one[2:], other[2:]) - torch.maximum(one[:2], other[:2])
    smaller = min(float((box[2:] - box[:2]).prod()) for box in (one, other))
    return float(sides.clamp(min=0).prod()) / smaller if smaller > 0 else 0.0


def box_around(one: Tensor, other: Tensor) -> Tensor:
    """The smallest box (4,) around two boxes."""
    return torch.cat([torch.minimum(one[:2], other[:2]), torch.maximum(one[2:], other[2:])])


def boxes_in_shares(boxes: Sequence[Sequence[float]], size: tuple[int, int], most: int = MOST) -> Tensor:
    """A user's boxes ──► (N, 4) float32 in shares of the image's sides.

    Args:
        boxes: left, top, right, bottom in pixels.
        size: (height, width) of the image.
        most: boxes at most.

    Raises:
        V2LError: there are none or too many, or one is empty, not finite or not inside the image.
    """
    height, width = size
    if not 1 <= len(boxes) <= most:
        raise V2LError(f"got {len(boxes):,} boxes", f"1 to {most} boxes an image", EXAMPLE)
    for box in boxes:
        check_box(box, size)
    return torch.tensor(boxes, dtype=torch.float32) / torch.tensor([width, height, width, height])


def check_box(box: Sequence[float], size: tuple[int, int]) -> Sequence[float]:
    """The box itself, in pixels.

    Raises:
        V2LError: it is not left, top, right, bottom, or is empty or not inside `size` = (height, width).
    """
    height, width = size
    allowed = f"left,top,right,bottom inside the image's {width} × {height} pixels"
    text = ",".join(str(side) for side in box)
    if len(box) != 4 or not all(isfinite(side) for side in box):
        raise V2LError(f"got the box {text[:60]}", allowed, EXAMPLE)
    left, top, right, bottom = box
    if left >= right or top >= bottom:
        raise V2LError(f"the box {text} is empty", f"{allowed}, left < right and top < bottom", EXAMPLE)
    if left < 0 or top < 0 or right > width or bottom > height:
        raise V2LError(f"the box {text} lies outside the image", allowed, EXAMPLE)
    return box


def read_box(text: str) -> tuple[float, ...]:
    """A text like 10,20,200,180 ──► four numbers.

    Raises:
        V2LError: they are not four numbers.
    """
    parts = text.split(",")
    try:
        numbers = tuple(float(part) for part in parts)
    except ValueError:
        numbers = ()
    if len(numbers) != 4:
        raise V2LError(f"got --box {text}", "left,top,right,bottom in pixels", EXAMPLE)
    return numbers


def read_boxes(path: Path) -> list[tuple[float, ...]]:
    """A JSON file with a list of boxes ──► the boxes, in pixels.

    Raises:
        V2LError: there is no such file, or it holds something else.
    """
    allowed = "a JSON list of boxes like [[10, 20, 200, 180]], in pixels"
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise V2LError(f"cannot read boxes from {path} ({error})", allowed) from error
    if not isinstance(values, list) or not all(_is_box(value) for value in values):
        raise V2LError(f"{path} holds no list of boxes", allowed)
    return [tuple(float(side) for side in value) for value in values]


def _is_box(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 4
        and all(isinstance(side, int | float) and not isinstance(side, bool) for side in value)
    )
