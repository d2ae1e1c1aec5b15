"""The ten supports are the paper's, and hold the answer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from v2l.evaluation.restoration.noisy_copies import RATES, noisy_copies, vote

CODES = torch.arange(50_000, 60_000)


@pytest.fixture
def clean() -> Tensor:
    return torch.arange(256).view(16, 16)


@pytest.mark.parametrize(
    ("official", "counts"),
    [
        (False, [128, 120, 112, 104, 97, 89, 81, 74, 66, 58]),
        (True, [138, 130, 121, 113, 105, 96, 88, 80, 72, 63]),
    ],
)
def test_as_many_tokens_are_replaced_as_the_protocol_says(
    clean: Tensor, official: bool, counts: list[int]
) -> None:
    supports = noisy_copies(clean, clean, CODES, torch.Generator().manual_seed(0), official)
    assert [sum(token >= 50_000 for token in copy.clean) for copy in supports] == counts
    assert len(supports) == len(RATES) == 10


def test_clean_and_corrupted_copies_have_the_same_replacements(clean: Tensor) -> None:
    corrupted = clean + 1000
    for copy in noisy_copies(clean, corrupted, CODES, torch.Generator().manual_seed(0)):
        for cell, (one, other) in enumerate(zip(copy.clean, copy.corrupted, strict=True)):
            assert one == other >= 50_000 or (one, other) == (cell, cell + 1000)


def test_copies_repeat_with_their_generator_and_leave_the_image_alone(clean: Tensor) -> None:
    before = clean.clone()
    first, second, third = (
        noisy_copies(clean, clean, CODES, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert first == second != third
    assert torch.equal(clean, before)


def test_a_vote_without_an_llm_has_nearly_all_of_the_answer(clean: Tensor) -> None:
    right = [
        vote(supports, cell) == cell
        for seed in range(20)
        for supports in [noisy_copies(clean, clean, CODES, torch.Generator().manual_seed(seed))]
        for cell in range(256)
    ]
    assert sum(right) / len(right) > 0.995


def test_of_equal_votes_the_cleanest_copy_decides(clean: Tensor) -> None:
    supports = noisy_copies(clean, clean, CODES, torch.Generator().manual_seed(0))[-2:]
    cell = next(cell for cell in range(256) if supports[0].clean[cell] != supports[1].clean[cell])
    assert vote(supports, cell) == supports[1].clean[cell]
