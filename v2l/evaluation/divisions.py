"""image + a number of parts ──► divisions that need no density peaks: the baselines of clusters."""

from __future__ import annotations

import numpy as np
import torch
from skimage.segmentation import slic
from torch import Tensor

COMPACTNESS = 10.0  # of SLIC: colour against position; scikit-image's default


def regular_grid(parts: int, size: tuple[int, int]) -> Tensor:
    """About `parts` rectangles of one size, nearly square: (H, W) int64."""
    height, width = size
    rows = max(1, round((parts * height / width) ** 0.5))
    columns = max(1, round(parts / rows))
    row: Tensor = torch.arange(height) * rows // height
    column: Tensor = torch.arange(width) * columns // width
    parts_of_pixels: Tensor = row[:, None] * columns + column[None]
    return parts_of_pixels


def superpixels(image: Tensor, parts: int) -> Tensor:
    """An image (3, H, W) in [0, 1] ──► (H, W) int64: about `parts` superpixels.

    Of several requests the one is taken whose number of superpixels is nearest to `parts`, because SLIC
    rounds its number to a grid. Source: SLIC, Achanta et al., PAMI 34 (11), 2012. By scikit-image.
    """
    pixels = image.movedim(0, -1).cpu().numpy()
    requests = sorted({parts, round(1.25 * parts), round(1.5 * parts), 2 * parts})
    divisions = [
        slic(pixels, n_segments=request, compactness=COMPACTNESS, start_label=0, channel_axis=-1)
        for request in requests
    ]
    best = min(divisions, key=lambda labels: abs(len(np.unique(labels)) - parts))
    return torch.from_numpy(best.astype(np.int64))
