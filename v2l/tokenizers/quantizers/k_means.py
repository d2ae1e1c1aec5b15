"""features ──► the first entries of a learned codebook: k-means.

Source: Lloyd, IEEE Transactions on Information Theory 28 (2), 1982.
"""

from __future__ import annotations

import torch
from torch import Tensor

from v2l.tokenizers.quantizers.base import nearest

ROUNDS = 5


@torch.no_grad()
def k_means(features: Tensor, size: int, rounds: int = ROUNDS) -> Tensor:
    """Centres of clusters of features.

    Args:
        features: (N, d) float32. If N is below `size`, features are drawn more than once.
        size: V, the number of centres.
        rounds: of assigning features to their nearest centre and moving it to their mean.

    Returns:
        (V, d) float32; a centre without features stays where it was.
    """
    count = len(features)
    chosen = torch.randperm(count)[:size] if count >= size else torch.randint(count, (size,))
    centres = features[chosen.to(features.device)].clone()
    for _ in range(rounds):
        own = nearest(features, centres)
        members = torch.bincount(own, minlength=size)
        sums = torch.zeros_like(centres).index_add_(0, own, features)
        centres = torch.where(members[:, None] > 0, sums / members.clamp(min=1)[:, None], centres)
    return centres
