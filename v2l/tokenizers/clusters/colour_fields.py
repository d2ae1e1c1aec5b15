"""the pixels of each cluster ⇄ a few numbers: the cluster's colours as a sum of cosines over its own box.

The box of a cluster is the smallest rectangle that holds its cells. With u and v in [0, 1] from the box's top
to its bottom and from its left to its right, and T terms a side,

    colour(u, v) = Σ_ij c_ij cos(π i u) cos(π j v),   i, j = 0 … T - 1

c is fitted to the pixels of the cluster by least squares, with a penalty on fine cosines, because a cluster
rarely fills its box. T = 1 is the mean colour. An image is painted from the fields and the cluster map alone.
Nothing is trained. The field is ours; source of the cosines: Ahmed, Natarajan and Rao, IEEE Transactions on
Computers C-23 (1), 1974.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate, one_hot

PENALTY = 1e-3  # of a coefficient, times i² + j² and the pixels of the cluster
LEAST = 1e-4  # share of a pixel that keeps the equations of an absent cluster solvable


class Fields(NamedTuple):
    """Where the clusters of B images lie, at most N an image, on S × S pixels."""

    shares: Tensor  # (B, N, S, S) float32, the share of each pixel that a cluster covers; they sum to 1
    down: Tensor  # (B, N, S, T) float32, the cosines of each row of pixels
    across: Tensor  # (B, N, S, T) float32, the cosines of each column


def fields_of_map(cells: Tensor, count: int, size: int, terms: int) -> Fields:
    """The cluster map of B images ──► where its fields lie.

    Args:
        cells: (B, h, w) int64 in [0, count), the cluster of each cell.
        count: N.
        size: S, pixels a side.
        terms: T, cosines a side.
    """
    masks = one_hot(cells, count).movedim(-1, 1).float()  # (B, N, h, w)
    shares = interpolate(masks, (size, size), mode="bilinear", align_corners=False)
    rows, columns = masks.amax(dim=3), masks.amax(dim=2)  # (B, N, h), (B, N, w): is any cell there?
    return Fields(shares, cosines_of_box(rows, size, terms), cosines_of_box(columns, size, terms))


def cosines_of_box(occupied: Tensor, size: int, terms: int) -> Tensor:
    """Which rows of cells a cluster occupies, (B, N, h) 0 or 1 ──► its cosines at S pixels, (B, N, S, T)."""
    places = torch.arange(occupied.shape[-1], device=occupied.device)
    inside = occupied > 0
    first = torch.where(inside, places, occupied.shape[-1]).amin(dim=-1, keepdim=True)
    behind = torch.where(inside, places + 1, 0).amax(dim=-1, keepdim=True)
    pixels = (torch.arange(size, device=occupied.device) + 0.5) / size * occupied.shape[-1]  # in cells
    along = ((pixels - first) / (behind - first).clamp(min=1)).clamp(0, 1)  # (B, N, S)
    angles: Tensor = torch.pi * along[..., None] * torch.arange(terms, device=occupied.device)
    return angles.cos()


def fit_colours(images: Tensor, fields: Fields) -> Tensor:
    """Images (B, 3, S, S) ──► the coefficients of each cluster's colours, (B, N, 3, T, T).

    The sums over pixels are taken first over rows, then over columns: the cosines are products of both.
    """
    shares, down, across = fields
    terms = down.shape[-1]
    by_row = torch.einsum("bnxy,bnxi,bnxk->bnyik", shares, down, down)
    gram = torch.einsum("bnyik,bnyj,bnyl->bnijkl", by_row, across, across).flatten(4).flatten(2, 3)
    right = torch.einsum("bnxy,bcxy,bnxi->bncyi", shares, images, down)
    right = torch.einsum("bncyi,bnyj->bnijc", right, across).flatten(2, 3)  # (B, N, T², 3)
    squares = torch.arange(terms, device=images.device).square()
    fine = (squares[:, None] + squares).flatten().float()  # (T²,) i² + j²
    pixels = shares.sum(dim=(2, 3))[..., None]  # (B, N, 1)
    penalty = torch.diag_embed(PENALTY * fine * pixels + LEAST)
    solved = torch.linalg.solve(gram + penalty, right)
    colours: Tensor = solved.transpose(2, 3).unflatten(-1, (terms, terms))
    return colours


def paint_colours(colours: Tensor, fields: Fields) -> Tensor:
    """Coefficients (B, N, 3, T, T) ──► images (B, 3, S, S)."""
    rows = torch.einsum("bnxi,bncij->bncxj", fields.down, colours)
    each = torch.einsum("bncxj,bnyj->bncxy", rows, fields.across)
    return (each * fields.shares[:, :, None]).sum(dim=1)
