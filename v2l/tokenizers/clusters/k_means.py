"""features ──► clusters by k-means: the baseline of density peaks, in training and in evaluation."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

ATTEMPTS, ITERATIONS = 3, 30  # starts, of which the best counts, and steps of each


def k_means(points: Tensor, parts: int, seed: int = 0) -> Tensor:
    """Points (n, C) ──► the centres (parts, C) float32 of k-means, the best of several starts.

    Source: Lloyd 1982; starts: k-means++, Arthur & Vassilvitskii 2007. By OpenCV.
    """
    cv2.setRNGSeed(seed)
    criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, ITERATIONS, 1e-4)
    rows = np.ascontiguousarray(points.float().cpu().numpy())
    labels = np.zeros((len(rows), 1), dtype=np.int32)  # for OpenCV to fill
    _, _, centres = cv2.kmeans(rows, parts, labels, criteria, ATTEMPTS, cv2.KMEANS_PP_CENTERS)
    return torch.from_numpy(np.asarray(centres, dtype=np.float32))


def k_means_members(points: Tensor, parts: int, seed: int = 0) -> Tensor:
    """Points (n, C) ──► (n,) int64 in [0, parts), the nearest centre of each."""
    centres = k_means(points, parts, seed).to(points)
    return torch.cdist(points, centres).argmin(dim=1)
