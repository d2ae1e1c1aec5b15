"""What surroundings let expect: near and alike tokens, of visible cells only."""

from __future__ import annotations

import pytest
import torch
from tiny_pipeline import tiny_pipeline

from v2l.tasks.restoration.token_prior import (
    MirrorImage,
    TokenGrids,
    code_vectors,
    corrupted_cell_candidates,
    estimate_source_cells,
    masked_cell_candidates,
    mirror_images,
)

TOKENIZER = tiny_pipeline().tokenizer
CODES = TOKENIZER.local_codebook.token_ids


def grid(seed: int = 0) -> torch.Tensor:
    return CODES[torch.randint(len(CODES), (6, 6), generator=torch.Generator().manual_seed(seed))]


def test_entries_are_the_quantizers() -> None:
    ids = grid()
    entries = TOKENIZER.quantizer.entries()
    for place in ((0, 0), (3, 5)):
        assert torch.equal(
            code_vectors(TOKENIZER, ids)[place],
            entries[TOKENIZER.local_codebook.row_of_token[int(ids[place])]],
        )


def test_hidden_tokens_are_not_used() -> None:
    hidden = torch.zeros(6, 6, dtype=torch.bool)
    hidden[2:5, 1:4] = True
    ids = grid()
    first = masked_cell_candidates(TOKENIZER, ids, hidden, 3)
    assert first == masked_cell_candidates(TOKENIZER, torch.where(hidden, grid(9), ids), hidden, 3)
    assert len(first) == 9
    assert all(
        set(candidates.ids) <= set(ids[~hidden].tolist())
        and len(set(candidates.ids)) == len(candidates.ids) == 3
        for candidates in first
    )
    assert all(
        candidates.logprobs == sorted(candidates.logprobs, reverse=True) and max(candidates.logprobs) <= 0
        for candidates in first
    )


def test_between_equal_tokens_the_same_is_expected() -> None:
    ids = torch.full((6, 6), int(CODES[3]))
    ids[:, 3:] = CODES[8]
    hidden = torch.zeros(6, 6, dtype=torch.bool)
    hidden[2, 1] = hidden[2, 4] = True
    assert [candidates.ids[0] for candidates in masked_cell_candidates(TOKENIZER, ids, hidden, 2)] == [
        int(CODES[3]),
        int(CODES[8]),
    ]
    assert [candidates.ids for candidates in masked_cell_candidates(TOKENIZER, ids, ids == CODES[8], 5)] == [
        [int(CODES[3])]
    ] * 18


def test_mirror_images_lie_as_far_behind_the_edge_and_turn_back_at_the_end_of_what_is_seen() -> None:
    visible = torch.ones(6, 6, dtype=torch.bool)
    visible[2:5, 1:5] = False
    assert mirror_images(visible, (3, 2)) == [
        MirrorImage(2, (1, 2), (0, 2)),
        MirrorImage(2, (3, 0), (3, 0)),
        MirrorImage(2, (5, 2), (5, 2)),
        MirrorImage(3, (3, 5), (3, 5)),
    ]
    lower = torch.zeros(6, 3, dtype=torch.bool)
    lower[:2] = True
    assert [mirror_images(lower, (row, 1)) for row in range(2, 6)] == [
        [MirrorImage(row - 1, (1, 1), (image, 1))]
        for row, image in zip(range(2, 6), (1, 0, 0, 1), strict=True)
    ]


def test_a_cell_that_sees_no_edge_has_the_nearest_cell_for_its_image() -> None:
    visible = torch.zeros(6, 6, dtype=torch.bool)
    visible[:2, :3] = True
    assert mirror_images(visible, (4, 5)) == [MirrorImage(6, (1, 2), (1, 2))]


def test_a_texture_goes_on_below_in_reverse() -> None:
    ids = CODES[torch.arange(36)].view(6, 6)
    hidden = torch.zeros(6, 6, dtype=torch.bool)
    hidden[3:] = True
    first = torch.tensor(
        [candidates.ids[0] for candidates in masked_cell_candidates(TOKENIZER, ids, hidden, 4)]
    ).view(3, 6)
    assert torch.equal(first, ids[:3].flip(0))


def test_of_two_images_the_one_that_is_like_the_edges_counts() -> None:
    """Two walls of one token: the same token follows the left wall, another one the right wall."""
    wall, other = (int(CODES[number]) for number in (3, 8))
    ids = torch.full((1, 8), wall)
    ids[0, 6:] = other
    hidden = torch.zeros(1, 8, dtype=torch.bool)
    hidden[0, 2:5] = True
    assert [candidates.ids[0] for candidates in masked_cell_candidates(TOKENIZER, ids, hidden, 2)] == [
        wall
    ] * 3


@pytest.mark.parametrize(
    ("shape", "turns", "shift"),
    [((6, 6), 0, (2, 5)), ((6, 6), 1, (0, 0)), ((4, 6), 3, (1, 0)), ((6, 6), 0, (0, 0))],
)
def test_source_cells_are_estimated_from_one_pair(
    shape: tuple[int, int], turns: int, shift: tuple[int, int]
) -> None:
    numbers = torch.arange(24 if shape == (4, 6) else 36).view(1, *shape)
    corrupted = torch.rot90(numbers.roll(shift, dims=(1, 2)), turns, dims=(1, 2))
    entries = torch.randn(numbers.numel(), 5, generator=torch.Generator().manual_seed(0))
    noise = 0.3 * torch.randn(*corrupted.shape, 5, generator=torch.Generator().manual_seed(1))
    found = estimate_source_cells(entries[numbers], entries[corrupted] + noise)
    assert corrupted.flatten()[found].tolist() == numbers.flatten().tolist()


def test_a_corruption_that_permutes_tokens_is_undone() -> None:
    """Six words, each corrupted to the one before it: the regression of other grids predicts a new one."""
    words = CODES[:6]
    generator = torch.Generator().manual_seed(0)
    clean = torch.randint(6, (40, 6, 6), generator=generator)
    corrupted = (clean - 1) % 6
    found = corrupted_cell_candidates(
        TOKENIZER, TokenGrids(words[clean[1:]], words[corrupted[1:]], words[corrupted[0]]), 3
    )
    assert [len(set(candidates.ids)) for candidates in found] == [3] * 36
    right = sum(
        candidates.ids[0] == int(words[index])
        for candidates, index in zip(found, clean[0].flatten().tolist(), strict=True)
    )
    assert right > 30
    assert all(candidates.logprobs == sorted(candidates.logprobs, reverse=True) for candidates in found)
    assert all(
        len(candidates.ids) == len(CODES)
        for candidates in corrupted_cell_candidates(
            TOKENIZER, TokenGrids(words[clean[1:]], words[corrupted[1:]], words[corrupted[0]]), 10**6
        )
    )
