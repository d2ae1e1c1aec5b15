"""image with a hole + picture of the hole ──► one image without a seam (Poisson blending, with SciPy).

The picture keeps its texture and takes the colour of the image: the difference of the two along the edge of
the hole is continued into it as smoothly as possible, as a membrane that solves Laplace's equation. Sources:
Pérez et al., Poisson image editing, 2003; Farbman et al., 2009, for the membrane.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.linalg import splu
from torch import Tensor


def seamless(image: Tensor, picture: Tensor, hole: Tensor) -> Tensor:
    """The image, and the picture in its hole.

    Args:
        image: (3, H, W) in [0, 1]; pixels in the hole are not used.
        picture: (3, H, W) in [0, 1], of the whole.
        hole: (H, W) bool, neither empty nor full.

    Returns:
        (3, H, W) in [0, 1].
    """
    return torch.where(hole, (picture + membrane(image - picture, hole)).clamp(0, 1), image)


def membrane(values: Tensor, hole: Tensor) -> Tensor:
    """Replace the values in a hole by the harmonic function that equals them along its edge.

    The n pixels of the hole are unknowns. The equation of pixel p sums over its neighbours q, at most four:

        Σ_q (x_p − x_q) = 0, so that  |N(p)| x_p − Σ_{q in the hole} x_q = Σ_{q outside} values_q

    A pixel at the edge of the image has fewer neighbours, which leaves the function free there.

    Args:
        values: (C, H, W); those in the hole are not used.
        hole: (H, W) bool, neither empty nor full.

    Returns:
        (C, H, W).
    """
    height, width = hole.shape
    hidden, flat = hole.flatten().numpy(), values.flatten(1).double().numpy()  # (H · W,) and (C, H · W)
    unknown = np.cumsum(hidden) - 1  # raster number of a hidden pixel ──► number of its unknown
    count = int(hidden.sum())
    rows, columns, weights = [], [], []
    known = np.zeros((count, len(flat)))  # right-hand side, a column for each channel
    for pixels, neighbours in neighbours_of(np.arange(height * width).reshape(height, width)):
        inside = hidden[pixels]
        own, other = pixels[inside], neighbours[inside]
        between = hidden[other]  # both pixels are unknown
        rows += [unknown[own], unknown[own[between]]]
        columns += [unknown[own], unknown[other[between]]]
        # The diagonal becomes the number of neighbours, because a COO matrix adds duplicate entries.
        weights += [np.ones(len(own)), -np.ones(between.sum())]
        # A pixel occurs once in each of the four directions, so += adds every pair.
        known[unknown[own[~between]]] += flat[:, other[~between]].T
    laplacian = coo_array(
        (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns))), shape=(count, count)
    )
    filled = flat.copy()
    filled[:, hidden] = splu(laplacian.tocsc()).solve(known).T
    return torch.from_numpy(filled).to(values.dtype).view(values.shape)


def neighbours_of(numbers: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every pair of adjacent pixels, both ways round: raster numbers (H, W) ──► four times (n,) and (n,)."""
    pairs = [(numbers[1:], numbers[:-1]), (numbers[:, 1:], numbers[:, :-1])]
    return [
        (one.flatten(), two.flatten())
        for first, second in pairs
        for one, two in ((first, second), (second, first))
    ]
