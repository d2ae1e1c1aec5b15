"""an image with a hole + a picture of the hole ──► one image without a seam (SciPy's door).

The picture keeps its texture and takes the image's colour: what the two differ by around the hole is carried into it as smoothly as can be,
a membrane that solves Laplace's equation. Sources: Pérez et al., Poisson image editing, 2003; Farbman et al., 2009, for the membrane.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu
from torch import Tensor


def seamless(image: Tensor, picture: Tensor, hole: Tensor) -> Tensor:
    """The image, and in its hole the picture.

    Args:
        image: (3, H, W) in [0, 1]; pixels in the hole are not looked at.
        picture: (3, H, W) in [0, 1], of the whole.
        hole: (H, W) bool, neither empty nor full.

    Returns:
        (3, H, W) in [0, 1].
    """
    return torch.where(hole, (picture + membrane(image - picture, hole)).clamp(0, 1), image)


def membrane(values: Tensor, hole: Tensor) -> Tensor:
    """Values (C, H, W), and in the hole (H, W) the harmonic function that meets them at its edge; free where it meets the image's edge."""
    height, width = hole.shape
    number = np.cumsum(hole.flatten().numpy()) - 1  # of each hidden pixel among them
    hidden, flat = hole.flatten().numpy(), values.flatten(1).double().numpy()
    count = int(hidden.sum())
    rows, columns, weights = [], [], []
    known = np.zeros((count, len(flat)))
    for pixels, neighbours in neighbours_of(np.arange(height * width).reshape(height, width)):
        inside = hidden[pixels]
        own, other = pixels[inside], neighbours[inside]
        between = hidden[other]
        rows += [number[own], number[own[between]]]
        columns += [number[own], number[other[between]]]
        weights += [np.ones(len(own)), -np.ones(between.sum())]
        known[number[own[~between]]] += flat[:, other[~between]].T
    laplacian = coo_array(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=(count, count)
    )
    filled = flat.copy()
    filled[:, hidden] = splu(laplacian.tocsc()).solve(known).T
    return torch.from_numpy(filled).to(values.dtype).view(values.shape)


def neighbours_of(numbers: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every pair of pixels side by side, both ways round: their raster numbers (H, W), four times (n,) and (n,)."""
    pairs = [(numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1])]
    return [
        (one.flatten(), two.flatten())
        for first, second in pairs
        for one, two in ((first, second), (second, first))
    ]
