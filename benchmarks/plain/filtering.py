"""images + candidates ──► votes, two images at a time, nothing cached, as in the official code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from v2l.encoders import JointEncoder
from v2l.images import load_image


def vote_plainly(encoder: JointEncoder, paths: Sequence[Path], candidates: Tensor) -> Tensor:
    """(V,) int64: how many images have a candidate among the five with the largest dot product."""
    counts = torch.zeros(len(candidates), dtype=torch.int64)
    for start in range(0, len(paths), 2):
        images = torch.stack([encoder.prepare(load_image(path)) for path in paths[start : start + 2]])
        for vector in encoder.encode_images(images):
            counts[(candidates @ vector).topk(5).indices] += 1
    return counts
