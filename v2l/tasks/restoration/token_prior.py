"""token grid, masked or corrupted ──► candidate tokens of each cell, with a log-prior: no LLM is used.

The prior comes from code vectors, the rows of the local codebook. A code vector holds the colour and texture
of a patch, so the distance of two code vectors says how different two tokens look. Each cell gets an expected
code vector: extrapolated from visible cells when the cell is masked, or regressed from corrupted cells when
it is corrupted. Candidates are the tokens nearest to it, and their log-prior is an isotropic normal density
around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad, unfold

from v2l.tokenizers.grid.model import V2LTokenizer

DISTANCE_POWER = 6  # a mirror image d cells away from the edge weighs d ** -6
MISMATCH_SCALE = 3.0  # and exp(-3 · its mismatch with the edges, 1 being the mean mismatch)
RIDGE_PENALTY = 1.0  # weight of the squared coefficients in the ridge regression
LEAST_VARIANCE = 1e-6  # keeps densities finite where all code vectors are equal


class CandidateTokens(NamedTuple):
    """Candidate tokens of one cell.

    Attributes:
        ids: different token ids, the most probable by the prior first.
        logprobs: as many: the log-density of their code vectors, up to a constant.
    """

    ids: list[int]
    logprobs: list[float]


CellCandidates = Mapping[int, CandidateTokens]  # raster number of a cell ──► its candidates


def code_vectors(tokenizer: V2LTokenizer, ids: Tensor) -> Tensor:
    """Token ids (…) int64 of the local codebook ──► their code vectors (…, d) float32 on the CPU."""
    row_of = tokenizer.local_codebook.row_of_token
    rows = torch.tensor([row_of[token_id] for token_id in ids.flatten().tolist()], device=tokenizer.device)
    with torch.inference_mode():
        return tokenizer.quantizer.entries()[rows].float().cpu().view(*ids.shape, -1)


def visual_features(tokenizer: V2LTokenizer, size: int) -> Tensor:
    """How the tokens of an LLM look: standardised code vectors; 0 for tokens outside the local codebook.

    Args:
        tokenizer: gives the code vectors.
        size: rows of the LLM's word embedding.

    Returns:
        (size, d + 1) float32: the code vector and its squared length. A linear function of a row can be the
        squared distance from any point p, because |x - p|² = |x|² - 2 p·x + |p|².
    """
    codes = tokenizer.local_codebook.token_ids.cpu()
    vectors = code_vectors(tokenizer, codes)  # (V, d)
    features = torch.cat([vectors, vectors.square().sum(dim=1, keepdim=True)], dim=1)  # (V, d + 1)
    of_all = torch.zeros(size, features.shape[1])
    of_all[codes] = (features - features.mean(dim=0)) / features.std(dim=0)
    return of_all


def masked_cell_candidates(
    tokenizer: V2LTokenizer, ids: Tensor, hidden: Tensor, count: int
) -> list[CandidateTokens]:
    """Rank candidate tokens for each masked cell by distance to a vector extrapolated from visible cells.

    Visible cells are mirrored into the hole. The candidates are the visible tokens in the 3 × 3 cells around
    each mirror image. The density is normal around the extrapolated code vector, and its variance is the mean
    squared distance of these tokens from it.

    Args:
        tokenizer: gives the code vectors.
        ids: (h, w) int64; the tokens of masked cells are not used.
        hidden: (h, w) bool, True where masked; neither none nor all.
        count: candidates of each cell.

    Returns:
        the candidates of the masked cells in raster order; fewer than `count` where there are fewer tokens.
    """
    visible = ~hidden
    # Masked cells get a visible token, so that each has a code vector; none of these vectors is read below.
    vectors = code_vectors(tokenizer, torch.where(hidden, ids[visible][0], ids))  # (h, w, d)
    candidates = []
    for row, column in hidden.nonzero().tolist():
        images = mirror_images(visible, (row, column))
        near = neighbourhood(images, visible)  # (h, w) bool, n of them True
        distances = (vectors[near] - extrapolated_vector(vectors, images)).square().sum(dim=1)  # (n,)
        # log N(x; m, s² I) = -|x - m|² / (2 s²) + constant, with the variance s² = mean distance / d
        logprobs = -0.5 * vectors.shape[-1] * distances / distances.mean().clamp_min(LEAST_VARIANCE)
        logprob_of = dict(zip(ids[near].tolist(), logprobs.tolist(), strict=True))  # one entry a token id
        best = sorted(logprob_of, key=lambda token_id: -logprob_of[token_id])[:count]
        candidates.append(CandidateTokens(best, [logprob_of[token_id] for token_id in best]))
    return candidates


class MirrorImage(NamedTuple):
    """A visible cell as far behind the edge of a hole as the masked cell lies before it.

    Attributes:
        distance: cells from the masked cell to the edge, at least 1.
        edge: row and column of the first visible cell.
        place: row and column of the mirror image.
    """

    distance: int
    edge: tuple[int, int]
    place: tuple[int, int]


def mirror_images(visible: Tensor, cell: tuple[int, int]) -> list[MirrorImage]:
    """The mirror images of a masked cell above, left, below and right of it.

    A mirror continues textures. To repeat the nearest visible cell instead would draw stripes.

    Args:
        visible: (h, w) bool, at least one True.
        cell: row and column of a masked cell.

    Returns:
        at most four, one for each direction with a visible cell. When there is none, the nearest visible cell
        alone.
    """
    row, column = cell
    # What a walk from the cell meets, step by step, and the step itself.
    lines = (
        (visible[:row, column].flip(0).tolist(), (-1, 0)),
        (visible[row, :column].flip(0).tolist(), (0, -1)),
        (visible[row + 1 :, column].tolist(), (1, 0)),
        (visible[row, column + 1 :].tolist(), (0, 1)),
    )
    images = []
    for line, (down, across) in lines:
        if True in line:
            distance, steps = mirror_steps(line)
            edge = (row + down * distance, column + across * distance)
            images.append(MirrorImage(distance, edge, (row + down * steps, column + across * steps)))
    return images or [nearest_image(visible, cell)]


def mirror_steps(line: Sequence[bool]) -> tuple[int, int]:
    """Steps from a masked cell to the edge of the hole, and to its mirror image, along one line of cells.

    Args:
        line: visible or not, from the first neighbour on; at least one True.
    """
    masked = list(line).index(True)  # masked cells between the cell and the edge
    run = [*line[masked:], False].index(False)  # visible cells in a row, from the edge on
    # Behind the edge the image lies `masked` cells deep. A run that is shorter is walked to and fro: with
    # period 2 · run, places 0 … run - 1 run away from the edge and run … 2 · run - 1 back to it.
    turn = masked % (2 * run)
    depth = turn if turn < run else 2 * run - 1 - turn
    return 1 + masked, 1 + masked + depth


def nearest_image(visible: Tensor, cell: tuple[int, int]) -> MirrorImage:
    """The nearest visible cell by city-block distance, in the place of a mirror image."""
    places = visible.nonzero()  # (n, 2)
    distances = (places - torch.tensor(cell)).abs().sum(dim=1)
    row, column = places[distances.argmin()].tolist()
    return MirrorImage(int(distances.min()), (row, column), (row, column))


def extrapolated_vector(vectors: Tensor, images: Sequence[MirrorImage]) -> Tensor:
    """The expected code vector of a masked cell: a weighted mean of its mirror images.

    The weights are inverse distance weights (Shepard, 1968), reduced where an image does not look like the
    edges of the hole. The edges thereby keep content from far behind them out of the middle of the hole.

    Args:
        vectors: (h, w, d) code vectors; those of masked cells are not used.
        images: of the cell.

    Returns:
        (d,).
    """
    at_edges = torch.stack([vectors[image.edge] for image in images])  # (at most 4, d)
    at_images = torch.stack([vectors[image.place] for image in images])
    weights = torch.tensor([float(image.distance) for image in images]).pow(-DISTANCE_POWER)
    mismatch = (at_images - weighted_mean(at_edges, weights)).square().sum(dim=1)
    relative = -MISMATCH_SCALE * mismatch / mismatch.mean().clamp_min(LEAST_VARIANCE)
    return weighted_mean(at_images, weights * relative.exp())


def weighted_mean(rows: Tensor, weights: Tensor) -> Tensor:
    """Rows (n, d) and weights (n,) ──► (d,)."""
    return (weights[:, None] * rows).sum(dim=0) / weights.sum()


def neighbourhood(images: Sequence[MirrorImage], visible: Tensor) -> Tensor:
    """(h, w) bool: the visible cells in the 3 × 3 around each mirror image."""
    near = torch.zeros_like(visible)
    for image in images:
        row, column = image.place
        near[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2] = True
    return near & visible


def estimate_source_cells(clean: Tensor, corrupted: Tensor) -> list[int]:
    """Estimate the 90° rotation and cyclic shift that best align corrupted grids with their clean versions.

    All combinations are tried; the one with the least mean squared distance of code vectors wins.

    Args:
        clean: (n, h, w, d) code vectors of n clean images.
        corrupted: (n, h', w', d) code vectors of the same images, corrupted; h and w may be exchanged.

    Returns:
        the source cell of each target cell: for every clean cell in raster order, the raster number of the
        corrupted cell that holds its content. Each cell is its own source when the corruption moves nothing.
    """
    numbers = torch.arange(corrupted.shape[1] * corrupted.shape[2]).view(1, *corrupted.shape[1:3])
    least, best = torch.inf, numbers
    for turns in range(4):
        # Undo the candidate rotation, on the code vectors and on the raster numbers alike.
        cells, turned = (torch.rot90(grids, -turns, dims=(1, 2)) for grids in (numbers, corrupted))
        if cells.shape[1:] != clean.shape[1:3]:
            continue
        for shift in product(range(clean.shape[1]), range(clean.shape[2])):
            distance = (clean - turned.roll(shift, dims=(1, 2))).square().mean().item()
            if distance < least:
                least, best = distance, cells.roll(shift, dims=(1, 2))
    source_cells: list[int] = best.flatten().tolist()
    return source_cells


class TokenGrids(NamedTuple):
    """Token ids (int64) of the examples and of the image to restore; corrupted content is moved back."""

    clean: Tensor  # (n, h, w): the examples
    corrupted: Tensor  # (n, h, w): the same examples, corrupted
    own: Tensor  # (h, w): the image to restore, corrupted in the same way


def corrupted_cell_candidates(
    tokenizer: V2LTokenizer, grids: TokenGrids, count: int
) -> list[CandidateTokens]:
    """Rank the codebook's tokens for each corrupted cell by distance to a predicted vector.

    A ridge regression predicts the vector.

    The regression (Hoerl and Kennard, 1970) predicts the clean code vector of a cell from the 3 × 3 corrupted
    ones around it. Its predictions shrink to the mean, which looks smooth; they are spread again to the
    variance of clean code vectors.

    Args:
        tokenizer: gives the code vectors.
        grids: what the regression is fitted to, and applied to.
        count: candidates of each cell.

    Returns:
        the candidates of the cells in raster order, at most the whole codebook. The density is normal around
        the predicted code vector, and its variance is the mean squared error of the fit.
    """
    inputs = neighbour_vectors(code_vectors(tokenizer, grids.corrupted))  # (n · h · w, 9 · d + 1)
    targets = code_vectors(tokenizer, grids.clean).flatten(0, 2)  # (n · h · w, d)
    # Normal equations of ridge regression: (XᵀX + λI) W = XᵀY. W has shape (9 · d + 1, d).
    penalty = RIDGE_PENALTY * torch.eye(inputs.shape[1])
    coefficients = torch.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ targets)
    fitted = inputs @ coefficients
    mean = targets.mean(dim=0)
    spread = targets.std(dim=0) / fitted.std(dim=0).clamp_min(LEAST_VARIANCE)
    own = neighbour_vectors(code_vectors(tokenizer, grids.own[None]))  # (h · w, 9 · d + 1)
    predicted = mean + (own @ coefficients - mean) * spread  # (h · w, d)
    with torch.inference_mode():
        codebook = tokenizer.quantizer.entries().float().cpu()  # (V, d)
    distances, rows = torch.cdist(predicted, codebook).topk(min(count, len(codebook)), largest=False)
    error = (targets - fitted).square().mean().clamp_min(LEAST_VARIANCE)
    logprobs = -0.5 * distances.square() / error  # (h · w, count)
    ids = tokenizer.local_codebook.token_ids.cpu()[rows]
    return [
        CandidateTokens(of_cell, its_logprobs)
        for of_cell, its_logprobs in zip(ids.tolist(), logprobs.tolist(), strict=True)
    ]


def neighbour_vectors(vectors: Tensor) -> Tensor:
    """Code vectors (n, h, w, d) ──► features of the regression (n · h · w, 9 · d + 1).

    They are the vectors of the 3 × 3 cells around each cell, and a one.

    The edges of the grid are repeated. The one is the constant term of the regression.
    """
    padded = pad(vectors.movedim(-1, 1), (1, 1, 1, 1), mode="replicate")  # (n, d, h + 2, w + 2)
    patches = unfold(padded, 3).transpose(1, 2).flatten(0, 1)  # (n, 9 · d, h · w) → (n · h · w, 9 · d)
    return torch.cat([patches, patches.new_ones(len(patches), 1)], dim=1)
