"""patches of an image + the draft ──► which patches are kept: each time the one that helps the draft most.

The selector of LaVIT scores each patch by itself, so its best ones lie side by side and say the same. Here
patches are kept one after the other. With the patches S that are kept already, R the error of the draft, and
ν_p what the code of a further patch p says beyond them, the squared error of the draft falls by

    gain_p = 2 Σ_q h_qp <R_q, ν_p> - Σ_q h_qp² |ν_p|²,    h_qp = g_qp / s_p

g_qp is what the places q and p have in common beyond S, and s_p the variance of p given S: the update of a
Gaussian prediction by one more value. Nothing is trained. Ours; greedy choice by the gain: orthogonal
matching pursuit, Pati, Rezaiifar & Krishnaprasad 1993, doi 10.1109/ACSSC.1993.342465.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from v2l.tokenizers.selection.draft import Draft


class Order(NamedTuple):
    """The patches of one image in the order in which they help."""

    places: Tensor  # (k,) int64
    gains: Tensor  # (k,) float32, by how much each lowers the mean squared error of the draft, of n patches


@torch.no_grad()
def helpful_order(draft: Draft, codes: Tensor, features: Tensor, grid: tuple[int, int], most: int) -> Order:
    """The patches of one image that help its draft most, one after the other.

    Args:
        draft: fitted.
        codes: (n, C) the prototypes of all patches' words.
        features: (n, C) unit length, what the draft is compared with.
        grid: (h, w) with h · w = n.
        most: k, so many patches.
    """
    common, cross = draft.curves(grid)  # (n, n) each
    centred, wanted = codes - draft.mean, features - draft.mean
    kept = torch.zeros(0, dtype=torch.int64, device=codes.device)
    gains = []
    for _ in range(min(most, len(codes))):
        gain = gains_of(kept, (common, cross), centred, wanted).index_fill(0, kept, -torch.inf)
        gains.append(gain.max() / len(codes))
        kept = torch.cat([kept, gain.argmax()[None]])
    return Order(kept, torch.stack(gains))


def gains_of(kept: Tensor, curves: tuple[Tensor, Tensor], codes: Tensor, wanted: Tensor) -> Tensor:
    """By how much each patch would lower the squared error of the draft, (n,).

    Args:
        kept: (k,) int64, the patches that are kept already.
        curves: K_cc and K_xc, (n, n) each.
        codes: (n, C) centred prototypes.
        wanted: (n, C) centred features.
    """
    common, cross = curves
    inside = torch.linalg.inv(common[kept][:, kept])  # (k, k)
    by_code, by_feature = common[:, kept] @ inside, cross[:, kept] @ inside  # (n, k) each
    error = wanted - by_feature @ codes[kept]
    news = codes - by_code @ codes[kept]
    variance = common.diagonal() - (by_code * common[:, kept]).sum(dim=1)  # (n,)
    change = (cross - by_feature @ common[kept]) / variance.clamp(min=1e-6)  # h, (n, n)
    found: Tensor = 2 * (change * (error @ news.T)).sum(dim=0)
    found -= change.square().sum(dim=0) * news.square().sum(dim=1)
    return found
