"""image ──► feature maps of one pass of the frozen encoder; boxes in them ──► a small grid of each map."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import roi_align

from v2l.encoders import JointEncoder
from v2l.errors import V2LError

SIDES = (520, 780)  # pixels of the shorter side at which an image is read, at least and at most
POOLED = 4  # values a side that RoIAlign takes from a box before their mean


def read_levels(encoder: JointEncoder, image: Tensor, count: int = 1) -> list[Tensor]:
    """`count` feature maps of an image (3, H, W) in [0, 1]: (1, C, h, w) each, the last stage first.

    Raises:
        V2LError: the encoder has no features of patches, or fewer maps.
    """
    least, most = SIDES
    side = min(max(min(image.shape[-2:]), least), most)
    if count == 1:
        return [encoder.patch_features(image[None], side).movedim(-1, 1)]
    maps = encoder.feature_levels(image[None], side)
    if len(maps) < count:
        allowed = f"1 to {len(maps)}, the feature maps of the encoder {encoder.name}"
        raise V2LError(f"got network.levels = {count}", allowed, f"levels: {len(maps)} in the config")
    return [level.movedim(-1, 1) for level in maps[:count]]


def align(level: Tensor, boxes: Tensor, size: int) -> Tensor:
    """A map (1, C, h, w) and boxes (N, 4) in shares of its sides ──► (N, C, size, size), by RoIAlign."""
    h, w = level.shape[-2:]
    corners = boxes.to(level) * level.new_tensor([w, h, w, h])
    rois = torch.cat([corners.new_zeros(len(corners), 1), corners], dim=1)  # (N, 5): image, then corners
    aligned: Tensor = roi_align(level, rois, (size, size), aligned=True)
    return aligned


def mean_of_boxes(level: Tensor, boxes: Tensor) -> Tensor:
    """A map (1, C, h, w) and boxes (N, 4) ──► the mean of each box (N, C)."""
    return align(level, boxes, POOLED).mean(dim=(-2, -1))
