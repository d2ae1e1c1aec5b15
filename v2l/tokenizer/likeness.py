"""token grids ──► what likely stands where a token is missing, and where tokens of a damaged grid belong: told by the codebook alone.

Tokens are alike when their entries are near each other: an entry holds colour and texture of its patch. No LLM is asked here; what comes
out limits what the LLM may choose from, or is what it starts from.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from v2l.tokenizer.model import V2LTokenizer

POWER = 6  # of the distance by which a visible cell loses weight
AMONG = 16  # visible cells, the nearest ones, that tell what stands in a hidden one


def entries_of(tokenizer: V2LTokenizer, ids: Tensor) -> Tensor:
    """Token ids (…) int64 of the local codebook ──► their entries (…, d) float32 on the CPU."""
    row_of = tokenizer.local_codebook.row_of_token
    rows = torch.tensor([row_of[token_id] for token_id in ids.flatten().tolist()], device=tokenizer.device)
    with torch.inference_mode():
        return tokenizer.quantizer.entries()[rows].float().cpu().view(*ids.shape, -1)


def expected(tokenizer: V2LTokenizer, ids: Tensor, hidden: Tensor, count: int) -> list[list[int]]:
    """Tokens for every hidden cell: of the nearest visible cells those that are most alike to what all these let expect.

    What they let expect is their blend by inverse distance weighting (Shepard, 1968) of entries.

    Args:
        tokenizer: gives the entries.
        ids: (h, w) int64; hidden ones are not looked at.
        hidden: (h, w) bool, neither none nor all of them.
        count: how many for each cell.

    Returns:
        for the hidden cells in raster order different token ids, the most alike first; fewer than `count` where fewer are near.
    """
    visible = ids[~hidden]
    distances = torch.cdist(hidden.nonzero().float(), (~hidden).nonzero().float())  # (hidden, visible)
    near = distances.topk(min(AMONG, len(visible)), largest=False)
    entries = entries_of(tokenizer, visible)[near.indices]  # (hidden, near, d)
    weights = near.values.pow(-POWER)[..., None]
    blend = (weights * entries).sum(dim=1, keepdim=True) / weights.sum(dim=1, keepdim=True)
    order = (entries - blend).square().sum(dim=2).sort(dim=1, stable=True).indices
    told = visible[near.indices.gather(1, order)].tolist()
    return [list(dict.fromkeys(tokens))[:count] for tokens in told]


def sources(clean: Tensor, damaged: Tensor) -> list[int]:
    """Where a damage has moved what stood in each cell: the quarter turn and cyclic shift by which images, damaged alike, are most alike.

    Args:
        clean: (n, h, w, d) entries of n clean images.
        damaged: (n, h', w', d) entries of the same images, damaged; the sides may be exchanged.

    Returns:
        for every clean cell in raster order the raster number of the damaged one; each itself where nothing was moved.
    """
    numbers = torch.arange(damaged.shape[1] * damaged.shape[2]).view(1, *damaged.shape[1:3])
    best, found = torch.inf, numbers
    for turns in range(4):
        cells, turned = (torch.rot90(grids, -turns, dims=(1, 2)) for grids in (numbers, damaged))
        if cells.shape[1:] != clean.shape[1:3]:
            continue
        for shift in product(range(clean.shape[1]), range(clean.shape[2])):
            distance = (clean - turned.roll(shift, dims=(1, 2))).square().mean().item()
            if distance < best:
                best, found = distance, cells.roll(shift, dims=(1, 2))
    return found.flatten().tolist()
