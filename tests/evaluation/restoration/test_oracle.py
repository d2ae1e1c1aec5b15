"""The paper's protocol: examples are noisy copies; batches and shared examples change no prediction."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from v2l.corruptions import all_cells, centre_cells
from v2l.evaluation.restoration.oracle import CorruptedTokens, Denoised, chosen_windows, denoise
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.restoration.settings import RestorationSettings

SETTINGS = RestorationSettings(n_context=4, n_before=3, n_examples=3, seed=5)


@pytest.fixture(scope="module")
def clean(pipeline: Pipeline) -> torch.Tensor:
    codes = pipeline.tokenizer.local_codebook.token_ids
    return codes[torch.randint(len(codes), (8, 8), generator=torch.Generator().manual_seed(0))]


@pytest.fixture(scope="module")
def hole(clean: torch.Tensor) -> CorruptedTokens:
    return CorruptedTokens(clean, clean, centre_cells((8, 8)), sequential=True)


@pytest.fixture(scope="module")
def corrupted(clean: torch.Tensor) -> CorruptedTokens:
    return CorruptedTokens(clean, clean.rot90(), all_cells((8, 8)), sequential=False)


def test_masked_windows_show_the_predictions_before_them(pipeline: Pipeline, hole: CorruptedTokens) -> None:
    done = denoise(pipeline, hole, SETTINGS)
    assert [
        cell for window in done.log for cell in window.cells
    ] == hole.hidden.flatten().nonzero().flatten().tolist()
    flat = hole.clean.flatten().tolist()
    for window in done.log:
        assert window.given == tuple(flat[window.cells[0] - 4 : window.cells[0]])
        for cell, token_id in zip(window.cells, window.ids, strict=True):
            flat[cell] = token_id
    assert done.ids.flatten().tolist() == flat


def test_corrupted_windows_show_their_own_tokens_and_those_before(
    pipeline: Pipeline, corrupted: CorruptedTokens
) -> None:
    done = denoise(pipeline, corrupted, SETTINGS)
    flat = corrupted.corrupted.flatten().tolist()
    for window in done.log:
        assert window.given == tuple(flat[(window.cells[0] + step) % 64] for step in (-3, -2, -1, 0, 1))
    assert [cell for window in done.log for cell in window.cells] == list(range(64))


def test_the_official_reading_shows_only_the_windows_own_tokens(
    pipeline: Pipeline, corrupted: CorruptedTokens
) -> None:
    done = denoise(pipeline, corrupted, replace(SETTINGS, n_before=0), official=True)
    assert all(
        window.given == tuple(corrupted.corrupted.flatten()[list(window.cells)].tolist())
        for window in done.log
    )


@pytest.mark.parametrize("changes", [{}, {"draws": 2, "contrast": 0.5}, {"splits": 3}], ids=str)
def test_batches_change_nothing(
    pipeline: Pipeline, hole: CorruptedTokens, corrupted: CorruptedTokens, changes: dict
) -> None:
    for tokens in (hole, corrupted):
        found: list[Denoised] = [
            denoise(pipeline, tokens, replace(SETTINGS, batch_tokens=size, **changes), limit=5)
            for size in (1, 5000)
        ]
        assert [window.ids for window in found[0].log] == [window.ids for window in found[1].log]


def test_noisy_copies_are_drawn_from_the_seed(pipeline: Pipeline, hole: CorruptedTokens) -> None:
    first, second, other = (
        denoise(pipeline, hole, replace(SETTINGS, seed=seed), limit=1).copies for seed in (1, 1, 2)
    )
    assert first == second != other


@pytest.mark.parametrize("num_candidates", [0, 1])
def test_candidates_are_the_tokens_of_the_copies_in_any_cell(
    pipeline: Pipeline, corrupted: CorruptedTokens, num_candidates: int
) -> None:
    done = denoise(pipeline, corrupted, replace(SETTINGS, num_candidates=num_candidates, draws=2))
    assert len(done.copies) == 2 * SETTINGS.n_examples
    shown = {token for copy in done.copies for token in copy.clean}
    assert ({token for window in done.log for token in window.ids} <= shown) is (num_candidates > 0)


def test_the_cleanest_copies_are_shown(pipeline: Pipeline, hole: CorruptedTokens) -> None:
    replaced = [
        sum(a != b for a, b in zip(copy.clean, hole.clean.flatten().tolist(), strict=True))
        for copy in denoise(pipeline, hole, SETTINGS, 1).copies
    ]
    assert max(replaced) <= int(0.29 * 64)
    assert replaced == sorted(replaced, reverse=True) or len(set(replaced)) < 3


def test_a_limit_takes_the_first_windows_of_a_sequence_and_any_of_the_others(
    hole: CorruptedTokens, corrupted: CorruptedTokens
) -> None:
    assert chosen_windows(hole, SETTINGS, 3) == chosen_windows(hole, SETTINGS, None)[:3]
    chosen = chosen_windows(corrupted, SETTINGS, 3)
    assert len(chosen) == 3
    assert (
        chosen
        == chosen_windows(corrupted, SETTINGS, 3)
        != chosen_windows(corrupted, replace(SETTINGS, seed=6), 3)
    )
    assert chosen_windows(corrupted, SETTINGS, 1000) == chosen_windows(corrupted, SETTINGS, None)


def test_predictions_are_tokens_of_the_codebook_and_progress_reaches_the_end(
    pipeline: Pipeline, corrupted: CorruptedTokens
) -> None:
    steps: list[tuple[str, int, int]] = []
    done = denoise(pipeline, corrupted, SETTINGS, limit=4, progress=lambda *step: steps.append(step))
    assert {token for window in done.log for token in window.ids} <= set(
        pipeline.tokenizer.local_codebook.token_ids.tolist()
    )
    assert steps[-1] == ("windows", 4, 4)
