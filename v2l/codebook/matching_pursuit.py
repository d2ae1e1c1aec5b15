"""image vectors ──► words that make each of them up together: matching pursuit.

The nearest words of an image say one thing many times, or are near to every image ("shown", "undertaken"). Here every word takes a
share out of the vector, and the next one is the nearest to what is left. No word of a family comes twice.
Source: Mallat & Zhang 1993, Matching pursuits with time-frequency dictionaries; the step below 1 is our choice.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from v2l.codebook.codebook import CHUNK_BYTES, Codebook
from v2l.errors import V2LError

STEP = 0.3  # of what a word explains is taken out: 0 would give the nearest words, 1 leaves nothing of a word's direction


def words_together(codebook: Codebook, features: Tensor, count: int, step: float = STEP) -> Tensor:
    """Rows of the words that together come nearest to each feature.

    Args:
        codebook: V words in the joint space.
        features: (N, D), unit length, D as the codebook's.
        count: words of each feature.
        step: in [0, 1].

    Returns:
        (N, count) int64, in the order in which they were taken; the first is the nearest word.

    Raises:
        V2LError: the codebook has fewer than `count` families of words.
    """
    names = sorted(set(codebook.families))
    if count > len(names):
        raise V2LError(
            f"asked for {count} words of a codebook with {len(names)} distinct ones",
            "fewer words",
            "a larger codebook",
        )
    number = {name: place for place, name in enumerate(names)}
    families = torch.tensor([number[name] for name in codebook.families], device=features.device)  # (V,)
    rows = normalize(codebook.embeddings.to(features.device, torch.float32), dim=-1)
    chunk = max(1, CHUNK_BYTES // (4 * len(codebook)))
    found = [_pursue(part.float(), rows, families, count, step) for part in features.split(chunk)]
    return torch.cat(found) if found else torch.empty(0, count, dtype=torch.int64)


def _pursue(left: Tensor, rows: Tensor, families: Tensor, count: int, step: float) -> Tensor:
    """(N, D) features, (V, D) words and their families (V,) ──► (N, count) rows."""
    taken = torch.zeros(len(left), int(families.max()) + 1, dtype=torch.bool, device=left.device)
    order = []
    for _ in range(count):
        scores = (left @ rows.T).masked_fill(taken[:, families], -torch.inf)  # (N, V)
        best, row = scores.max(dim=-1)
        left = left - step * best[:, None] * rows[row]
        taken[torch.arange(len(left)), families[row]] = True
        order.append(row)
    return torch.stack(order, dim=1)
