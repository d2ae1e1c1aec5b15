"""image ──► boxes in which an object may be, and their vectors, without a detector's weights.

Windows of several sizes cover the image. The joint encoder reads the image once, and RoIAlign pools its patch
features in each window. The score of a window is the cosine of its vector and the nearest word: where the
encoder is sure what it sees, there is one thing. The published proposals come from a trained detector;
`v2l.tokenizers.regions.detector` is the door for one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import roi_align

from v2l.encoders import JointEncoder
from v2l.places import Box

SIZES = 4  # windows have 1/1 to 1/4 of the image's width and of its height
SIDES = (520, 780)  # pixels of the shorter side at which an image is read, at least and at most
POOLED = 4  # values a side that RoIAlign takes from a window before their mean


def windows(sizes: int = SIZES) -> list[Box]:
    """Windows of each size, row by row; half of a window is between two of them.

    A width of 1/k goes with heights of 1/(k - 1), 1/k and 1/(k + 1).
    """
    pairs = [(x, y) for x in range(1, sizes + 1) for y in range(1, sizes + 1) if abs(x - y) <= 1]
    return [
        (left, top, left + 1 / columns, top + 1 / rows)
        for columns, rows in pairs
        for top in _starts(rows)
        for left in _starts(columns)
    ]


def encode_windows(encoder: JointEncoder, image: Tensor) -> tuple[Tensor, Tensor]:
    """The windows of an image (3, H, W) in [0, 1].

    Returns:
        boxes (N, 4) float32 on the CPU, in shares of the image's sides; and their vectors (N, D) float32.

    Raises:
        V2LError: the encoder has no features of patches.
    """
    least, most = SIDES
    side = min(max(min(image.shape[-2:]), least), most)
    features = encoder.patch_features(image[None], side).movedim(-1, 1)  # (1, C, h, w)
    boxes = torch.tensor(windows(), dtype=torch.float32)
    return boxes, encoder.to_joint_space(pool_boxes(features, boxes.to(features)))


def pool_boxes(features: Tensor, boxes: Tensor) -> Tensor:
    """Patch features (1, C, h, w) and boxes (N, 4) in shares ──► the mean of each box (N, C), by RoIAlign."""
    h, w = features.shape[-2:]
    corners = boxes * boxes.new_tensor([w, h, w, h])
    rois = torch.cat([corners.new_zeros(len(corners), 1), corners], dim=1)  # (N, 5): image, then corners
    aligned: Tensor = roi_align(features, rois, (POOLED, POOLED), aligned=True)  # (N, C, 4, 4)
    return aligned.mean(dim=(-2, -1))


def _starts(parts: int) -> list[float]:
    """Where windows of the length 1/parts begin."""
    return [place / (2 * parts) for place in range(2 * parts - 1)]
