"""token grids ──► what likely stands where a token is missing, and where tokens of a damaged grid belong: told by the codebook alone.

Tokens are alike when their entries are near each other: an entry holds colour and texture of its patch. No LLM is asked here; what comes
out limits and weighs what the LLM may choose among, or is what it starts from.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad, unfold

from v2l.tokenizers.grid.model import V2LTokenizer

POWER = 6  # of the distance by which a mirror image loses weight
DOUBT = 3.0  # of a mirror image that is not like what the edges let expect
RIDGE = 1.0  # weight of the squared coefficients


class CandidateTokens(NamedTuple):
    """Tokens that may stand in a cell.

    Attributes:
        ids: different token ids, the most alike to what is expected first.
        logprobs: as many: log-density of their entries around it, up to a constant.
    """

    ids: list[int]
    logprobs: list[float]


def code_vectors(tokenizer: V2LTokenizer, ids: Tensor) -> Tensor:
    """Token ids (…) int64 of the local codebook ──► their entries (…, d) float32 on the CPU."""
    row_of = tokenizer.local_codebook.row_of_token
    rows = torch.tensor([row_of[token_id] for token_id in ids.flatten().tolist()], device=tokenizer.device)
    with torch.inference_mode():
        return tokenizer.quantizer.entries()[rows].float().cpu().view(*ids.shape, -1)


def visual_features(tokenizer: V2LTokenizer, size: int) -> Tensor:
    """How the tokens of an LLM look: entries and their squared length, each with mean 0 and deviation 1; 0 for what is no local word.

    Args:
        tokenizer: gives the entries.
        size: rows of the LLM's word embedding.

    Returns:
        (size, d + 1) float32. With the squared length a linear function of it can be the distance from any point.
    """
    codes = tokenizer.local_codebook.token_ids.cpu()
    entries = code_vectors(tokenizer, codes)
    told = torch.cat([entries, entries.square().sum(dim=1, keepdim=True)], dim=1)
    found = torch.zeros(size, told.shape[1])
    found[codes] = (told - told.mean(dim=0)) / told.std(dim=0)
    return found


def expected(tokenizer: V2LTokenizer, ids: Tensor, hidden: Tensor, count: int) -> list[CandidateTokens]:
    """Tokens for every hidden cell: those around its mirror images in the visible part that are most alike to what these let expect.

    What they let expect is their blend by inverse distance weighting (Shepard, 1968) of entries, in which an image counts the less the more
    it differs from the blend of the hole's edges. A mirror goes on with textures where the nearest cell, taken again and again, makes
    stripes; the edges keep what lies far behind them out of the hole's middle.

    Args:
        tokenizer: gives the entries.
        ids: (h, w) int64; hidden ones are not looked at.
        hidden: (h, w) bool, neither none nor all of them.
        count: how many for each cell.

    Returns:
        for the hidden cells in raster order; fewer than `count` tokens where fewer are near. Density: a normal one as wide as the near
        entries lie around the blend.
    """
    visible = ~hidden
    entries = code_vectors(tokenizer, torch.where(hidden, ids[visible][0], ids))  # (h, w, d)
    told = []
    for cell in hidden.nonzero().tolist():
        images = mirror_images(visible, (cell[0], cell[1]))
        near = surroundings(images, visible)
        apart = (entries[near] - expectation(entries, images)).square().sum(dim=1)  # (near,)
        densities = -0.5 * entries.shape[-1] * apart / apart.mean().clamp_min(1e-6)
        ranked = sorted(
            dict(zip(ids[near].tolist(), densities.tolist(), strict=True)).items(), key=lambda pair: -pair[1]
        )[:count]
        told.append(CandidateTokens(*(list(column) for column in zip(*ranked, strict=True))))
    return told


class MirrorImage(NamedTuple):
    """A visible cell that lies as far behind the edge of a hole as a hidden one lies before it."""

    distance: int  # from the hidden cell to the edge, at least 1
    edge: tuple[int, int]  # row and column of the first visible cell
    place: tuple[int, int]  # and of the image


def mirror_images(visible: Tensor, cell: tuple[int, int]) -> list[MirrorImage]:
    """The mirror images of a hidden cell above, left, below and right; the nearest visible cell where no line of sight meets any.

    Args:
        visible: (h, w) bool, not none.
        cell: row and column of a hidden cell.
    """
    row, column = cell
    above, below = visible[:row, column].flip(0).tolist(), visible[row + 1 :, column].tolist()
    left, right = visible[row, :column].flip(0).tolist(), visible[row, column + 1 :].tolist()
    images = []
    for line, (down, across) in ((above, (-1, 0)), (left, (0, -1)), (below, (1, 0)), (right, (0, 1))):
        if True in line:
            edge = line.index(True)
            run = [*line[edge:], False].index(False)  # visible cells in a row behind the edge
            turn = edge % (2 * run)
            steps = 1 + edge + (turn if turn < run else 2 * run - 1 - turn)  # to and fro in the run
            first, place = ((row + down * step, column + across * step) for step in (1 + edge, steps))
            images.append(MirrorImage(1 + edge, first, place))
    if images:
        return images
    places = visible.nonzero()
    distances = (places - torch.tensor(cell)).abs().sum(dim=1)
    nearest = tuple(places[distances.argmin()].tolist())
    return [MirrorImage(int(distances.min()), nearest, nearest)]


def expectation(entries: Tensor, images: Sequence[MirrorImage]) -> Tensor:
    """What mirror images let expect: (h, w, d) entries ──► (d,). Entries of hidden cells are not looked at."""
    edges, seen = (
        torch.stack([entries[place] for place in places])
        for places in zip(*(image[1:] for image in images), strict=True)
    )
    nearness = torch.tensor([float(image.distance) for image in images]).pow(-POWER)
    unlike = (seen - blended(edges, nearness)).square().sum(dim=1)
    return blended(seen, nearness * (-DOUBT * unlike / unlike.mean().clamp_min(1e-6)).exp())


def blended(rows: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean of rows (n, d)."""
    return (weights[:, None] * rows).sum(dim=0) / weights.sum()


def surroundings(images: Sequence[MirrorImage], visible: Tensor) -> Tensor:
    """The visible cells (h, w) bool among the 3 × 3 around each image."""
    near = torch.zeros_like(visible)
    for _, _, (row, column) in images:
        near[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = True
    return near & visible


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


def restored(
    tokenizer: V2LTokenizer, clean: Tensor, damaged: Tensor, own: Tensor, count: int
) -> list[CandidateTokens]:
    """Tokens of the codebook for every cell of a damaged grid: those most alike to what pairs of other images let expect.

    What they let expect is linear in the 3 × 3 damaged entries around a cell, by ridge regression (Hoerl and Kennard, 1970), spread as wide
    as clean entries are: a regression's own answers are drawn to the mean, which is smooth.

    Args:
        tokenizer: gives the entries.
        clean: (n, h, w) int64 ids of other images.
        damaged: (n, h, w) int64 ids of the same images, damaged alike, their content where it belongs.
        own: (h, w) int64 ids of the damaged grid, in the same way.
        count: how many for each cell.

    Returns:
        for the cells in raster order; no more tokens than the codebook has. Density: a normal one as wide as the regression errs.
    """
    seen, wanted = around(code_vectors(tokenizer, damaged)), code_vectors(tokenizer, clean).flatten(0, 2)
    weights = torch.linalg.solve(seen.T @ seen + RIDGE * torch.eye(seen.shape[1]), seen.T @ wanted)
    fitted = seen @ weights
    mean, spread = wanted.mean(dim=0), wanted.std(dim=0) / fitted.std(dim=0).clamp_min(1e-6)
    answers = mean + (around(code_vectors(tokenizer, own[None])) @ weights - mean) * spread
    with torch.inference_mode():
        entries = tokenizer.quantizer.entries().float().cpu()
    apart, rows = torch.cdist(answers, entries).topk(min(count, len(entries)), largest=False)
    densities = -0.5 * apart.square() / (wanted - fitted).square().mean().clamp_min(1e-6)
    ids = tokenizer.local_codebook.token_ids.cpu()[rows]
    return [CandidateTokens(*both) for both in zip(ids.tolist(), densities.tolist(), strict=True)]


def around(entries: Tensor) -> Tensor:
    """Entries (n, h, w, d) ──► those of the 3 × 3 cells around each, and a one: (n · h · w, 9 · d + 1); edges are repeated."""
    padded = pad(entries.movedim(-1, 1), (1, 1, 1, 1), mode="replicate")
    patches = unfold(padded, 3).transpose(1, 2).flatten(0, 1)
    return torch.cat([patches, patches.new_ones(len(patches), 1)], dim=1)
