"""patch features ──► clusters, as many as the image needs: density peaks.

With n features x_i of C channels and d_ij = ‖x_i - x_j‖ / √C:

    ρ_i = exp(-mean of d_ij² over the k nearest j, i itself included) + noise up to 10⁻⁶
    δ_i = min of d_ij over all j with ρ_j > ρ_i; for the densest feature the largest distance of all
    centres = all i with ρ_i · δ_i > threshold; if there are none, those with the highest products

Each feature joins its nearest centre. A centre joins itself. The noise separates equal densities. It is
seeded, so an image always has the same clusters. Nothing here is trained. Sources: SeTok, arXiv 2406.05127,
section 3.2; Rodriguez & Laio, Science 344, 2014, doi 10.1126/science.1242072; k nearest neighbours: Du, Ding
& Jia 2016, doi 10.1016/j.knosys.2016.02.001.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NOISE, SEED = 1e-6, 0


@dataclass(frozen=True)
class PeakSettings:
    """How many clusters are found.

    Attributes:
        neighbours: k, features over which a density is taken.
        threshold: of ρ · δ, above which a feature is a centre; the lower it is, the more tokens an image has.
        if_none: centres that are taken when no product is above the threshold.
        most: at most so many centres, those with the highest products.
        row_maxima: as released: δ of every feature with the highest density of its row is its row's maximum.
    """

    neighbours: int = 64
    threshold: float = 0.5
    if_none: int = 1
    most: int = 64
    row_maxima: bool = False


@dataclass(frozen=True)
class Clusters:
    """The clusters of one image.

    Attributes:
        centres: (N,) int64, which features are centres, the highest product first.
        members: (n,) int64 in [0, N), the cluster of each feature.
        scores: (N,) float32, ρ · δ of each centre.
    """

    centres: Tensor
    members: Tensor
    scores: Tensor


def find_clusters(features: Tensor, settings: PeakSettings) -> Clusters:
    """Features (n, C) of one image ──► its clusters; equal features are one, unless `if_none` is more.

    Args:
        features: (n, C) float32, n at least 1.
        settings: how many clusters are found.
    """
    distances = scaled_distances(features)
    density = densities(distances, settings.neighbours)
    product = density * separations(distances, density, settings.row_maxima)  # (n,)
    order = product.argsort(descending=True, stable=True)
    count = min(int((product > settings.threshold).sum()) or settings.if_none, settings.most, len(order))
    centres = order[:count]
    members = distances[:, centres].argmin(dim=1)  # (n, N) ──► (n,)
    members[centres] = torch.arange(count, device=members.device)
    return Clusters(centres, members, product[centres])


def scaled_distances(features: Tensor) -> Tensor:
    """(n, C) ──► d (n, n) float32, symmetric, 0 on its diagonal."""
    rows = features.float()
    # Without the shortcut by a matrix product, equal features have the distance 0 exactly.
    distances: Tensor = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    return distances.div(rows.shape[1] ** 0.5)


def densities(distances: Tensor, neighbours: int) -> Tensor:
    """Distances d (n, n) ──► ρ (n,), each in (0, 1 + 10⁻⁶); noise separates equal ones."""
    nearest = distances.topk(min(neighbours, len(distances)), dim=1, largest=False).values  # (n, k)
    generator = torch.Generator().manual_seed(SEED)
    noise = NOISE * torch.rand(len(distances), generator=generator).to(distances)
    return torch.exp(-nearest.square().mean(dim=1)) + noise


def separations(distances: Tensor, density: Tensor, row_maxima: bool = False) -> Tensor:
    """Distances d (n, n) and ρ (n,) ──► δ (n,), the distance to the nearest feature of higher density.

    Args:
        distances: (n, n).
        density: (n,), without equal values.
        row_maxima: the densest feature gets the maximum of its own row instead of that of all distances. The
            released code does so, apparently by a slip of broadcasting.
    """
    denser = density[None, :] > density[:, None]  # (n, n): is j denser than i?
    largest = distances.amax(dim=1) if row_maxima else distances.amax().expand(len(distances))
    nearest_denser = distances.masked_fill(~denser, torch.inf).amin(dim=1)
    return torch.where(denser.any(dim=1), nearest_denser, largest)
