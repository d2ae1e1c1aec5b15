"""image vectors ──► words that together reconstruct each vector: matching pursuit.

The codebook is the dictionary.

The nearest words of an image often repeat one thing ("dog", "puppy", "hound"), or are words that are near to
every image ("shown", "undertaken"). Matching pursuit avoids both. It selects the word with the largest inner
product, subtracts a part of that word from the vector, and selects the next word for the residual:

    w_t = argmax_w <r_t, w>,    r_{t+1} = r_t - step · <r_t, w_t> · w_t,    r_0 = the image's vector

At most one word of each family ("dog", "Dogs") is selected. Source: Mallat & Zhang 1993, "Matching pursuits
with time-frequency dictionaries", which has step = 1; a step below 1 is our choice.
"""

from __future__ import annotations

import torch
from torch import Tensor

from v2l.codebook.codebook import CHUNK_BYTES, Codebook
from v2l.errors import V2LError

# Share of each projection that is subtracted: 0 gives the nearest words, 1 is matching pursuit as published.
STEP = 0.3


def words_together(codebook: Codebook, features: Tensor, count: int, step: float = STEP) -> Tensor:
    """Select words for each feature by matching pursuit.

    Args:
        codebook: V words in the joint space.
        features: (N, D), unit length, D as in the codebook.
        count: number of words per feature.
        step: share of each projection that is subtracted, in [0, 1].

    Returns:
        (N, count) int64 rows of the codebook, in the order of selection; the first is the nearest word.

    Raises:
        V2LError: the codebook has fewer than `count` families of words.
    """
    families = codebook.family_numbers.to(features.device)  # (V,)
    distinct = int(families.max()) + 1
    if count > distinct:
        raise V2LError(
            f"asked for {count} words of a codebook with {distinct} distinct ones",
            "fewer words",
            "a larger codebook",
        )
    rows = codebook.unit_rows(features.device)  # (V, D)
    chunk = max(1, CHUNK_BYTES // (4 * len(codebook)))  # 4 bytes per score, V scores per feature
    parts = torch.split(features, chunk)
    found = [_pursue(part.float(), rows, families, count, step) for part in parts]
    return torch.cat(found) if found else torch.empty(0, count, dtype=torch.int64)


def _pursue(residual: Tensor, rows: Tensor, families: Tensor, count: int, step: float) -> Tensor:
    """(N, D) features, (V, D) words and the number of each word's family (V,) ──► (N, count) rows."""
    taken = torch.zeros(len(residual), int(families.max()) + 1, dtype=torch.bool, device=residual.device)
    order = []
    for _ in range(count):
        # taken[:, families] spreads (N, families) to (N, V): every word of a family that was selected is
        # excluded.
        scores = (residual @ rows.T).masked_fill(taken[:, families], -torch.inf)  # (N, V)
        best, row = scores.max(dim=-1)  # (N,) projections <r, w> and their rows
        residual = residual - step * best[:, None] * rows[row]
        taken[torch.arange(len(residual)), families[row]] = True
        order.append(row)
    return torch.stack(order, dim=1)
