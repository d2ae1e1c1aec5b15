"""the words of kept patches ──► a draft of the features of all patches, in closed form.

Each word has a prototype: the mean direction of the features of the training patches that it names. From the
prototypes c_q at the kept places q, the features of place p are predicted by the best linear prediction (also
called kriging):

    x_p = m + Σ_q w_pq (c_q - m),   W = K_xc (K_cc)⁻¹

m is the mean of all prototypes' patches. K_cc and K_xc are the mean products of what two places of an image
have in common, as functions of their distance in patches:

    K(d) = far + near · exp(-d / reach) + (own, where d = 0)

All numbers are fitted to training images once; nothing here is trained. Ours, in place of LaVIT's decoder
from nothing; the prediction: Matheron, Economic Geology 58 (8), 1963, doi 10.2113/gsecongeo.58.8.1246.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from v2l.tokenizers.quantizers.base import nearest

REACHES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)  # patches, from which the fit chooses
PRIOR = 2.0  # patches with the mean feature that every prototype is mixed with
ROUNDS = 2  # of naming patches and taking means
EPS = 1e-3  # on the diagonal of K_cc, of its value at distance 0


class Draft(nn.Module):
    """Prototypes of V words, and the prediction of features from them.

    Args:
        words: V.
        channels: C of the features.
    """

    prototypes: Tensor
    mean: Tensor
    common: Tensor
    cross: Tensor
    reach: Tensor

    def __init__(self, words: int, channels: int) -> None:
        super().__init__()
        self.register_buffer("prototypes", torch.zeros(words, channels))  # unit length
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("common", torch.tensor([0.0, 0.0, 1.0]))  # of K_cc: far, near, own
        self.register_buffer("cross", torch.tensor([0.0, 0.0, 1.0]))  # of K_xc
        self.register_buffer("reach", torch.ones(()))

    def forward(self, codes: Tensor, kept: Tensor, grid: tuple[int, int]) -> Tensor:
        """Prototypes (B, n, C) of kept (B, n) places ──► features (B, n, C), about unit length.

        What stands at dropped places is not read. The gradient reaches codes and `kept`.
        """
        common, cross = self.curves(grid)
        # A row of a kept place is its equation of prediction, one of a dropped place says: weight 0. As rows
        # are linear in `kept`, a place that is dropped has a gradient, too.
        equations = kept[..., None] * common + torch.diag_embed(1 - kept)  # (B, n, n)
        weighted: Tensor = torch.linalg.solve(equations, kept[..., None] * (codes - self.mean))  # (B, n, C)
        return self.mean + cross @ weighted

    def curves(self, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """K_cc, with a little on its diagonal, and K_xc of all pairs of places, (n, n) each."""
        shapes = shapes_of(distances(grid).to(self.mean), self.reach)  # (3, n, n)
        common = torch.einsum("k,kpq->pq", self.common, shapes)
        cross = torch.einsum("k,kpq->pq", self.cross, shapes)
        return common + EPS * self.common.sum() * torch.eye(len(common), device=common.device), cross

    @torch.no_grad()
    def fit(self, features: Tensor, near: Tensor, words: Tensor, naming: float) -> None:
        """Set everything to training images.

        Args:
            features: (N, n, C) unit length, of N images on one grid of h × w = n patches.
            near: (N, n, D) unit length, the same patches in the joint space.
            words: (V, D) unit length.
            naming: weight of the word's own cosine, as `code_space` takes it.
        """
        grid = round(features.shape[1] ** 0.5)
        points = code_space(features, near, naming).flatten(0, 1)
        self.mean.copy_(features.mean(dim=(0, 1)))
        named = nearest(near.flatten(0, 1), words)
        for _ in range(ROUNDS):
            self.prototypes.copy_(self._means(features.flatten(0, 1), named))
            named = nearest(points, code_space(self.prototypes, words, naming))
        codes = self.prototypes[named].view_as(features) - self.mean
        self._fit_distances(features - self.mean, codes, distances((grid, grid)).to(features))

    def _means(self, features: Tensor, named: Tensor) -> Tensor:
        """Features (P, C) and the word of each ──► (V, C) unit length."""
        sums = (PRIOR * self.mean).repeat(len(self.prototypes), 1).index_add_(0, named, features)
        return normalize(sums, dim=-1)

    def _fit_distances(self, features: Tensor, codes: Tensor, apart: Tensor) -> None:
        """Set K_cc and K_xc to centred features and codes (N, n, C) at distances (n, n)."""
        count = len(codes)
        common = torch.einsum("ipc,iqc->pq", codes, codes) / count
        cross = torch.einsum("ipc,iqc->pq", features, codes) / count
        found = [_fit_curve(common, cross, apart, reach) for reach in REACHES]
        best = min(found, key=lambda each: each.error)
        self.common.copy_(best.common)
        self.cross.copy_(best.cross)
        self.reach.fill_(best.reach)


class Curve(NamedTuple):
    """K_cc and K_xc, (3,) each: far, near, own."""

    common: Tensor
    cross: Tensor
    reach: float
    error: float


def _fit_curve(common: Tensor, cross: Tensor, apart: Tensor, reach: float) -> Curve:
    """Least squares of both products (n, n) at distances (n, n), for one reach."""
    shapes = shapes_of(apart, torch.tensor(reach)).flatten(1).T  # (n², 3)
    wanted = torch.stack([common.flatten(), cross.flatten()], dim=1)
    solved = torch.linalg.lstsq(shapes, wanted).solution  # (3, 2)
    error = (shapes @ solved - wanted).square().sum().item()
    # A covariance needs parts of at least 0; the cross products need not have them.
    return Curve(solved[:, 0].clamp(min=0), solved[:, 1], reach, error)


def shapes_of(apart: Tensor, reach: Tensor) -> Tensor:
    """Distances (n, n) ──► the three parts of K, (3, n, n): far, near, own."""
    return torch.stack([torch.ones_like(apart), torch.exp(-apart / reach), (apart == 0).to(apart)])


def distances(grid: tuple[int, int]) -> Tensor:
    """A grid (h, w) ──► the distances of its cells in cells, (h · w, h · w) float32."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], dim=1).float()
    return torch.cdist(places, places, compute_mode="donot_use_mm_for_euclid_dist")


def code_space(features: Tensor, joint: Tensor, naming: float) -> Tensor:
    """Unit features (…, C) and joint vectors (…, D) ──► (…, D + C), in which the nearest word is chosen.

    Its products are those of the features plus `naming` times those of the joint vectors.
    """
    return torch.cat([naming**0.5 * joint, features], dim=-1)
