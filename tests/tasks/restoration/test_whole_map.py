"""A whole map is predicted in one pass: the LLM's scores after each cell, plus the weighted prior."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_pipeline import tiny_pipeline

from v2l.corruptions import Rotation
from v2l.errors import V2LError
from v2l.masks import centre_mask
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.restoration.inpaint import inpaint
from v2l.tasks.restoration.repair import repair
from v2l.tasks.restoration.settings import ADAPTER, RestorationSettings
from v2l.tasks.restoration.token_prior import CandidateTokens
from v2l.tasks.restoration.whole_map import map_query, predict_map

MAP = [40, 43, 46, None, 52, None]  # three cells a row
CHOICES = {
    3: CandidateTokens([60, 70, 80], [0.0, -1.0, -2.0]),
    1: CandidateTokens([90, 61], [0.0, -0.5]),
    5: CandidateTokens([71, 72], [0.0, -9.0]),
}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return tiny_pipeline()


def plain(pipeline: Pipeline, prior_weight: float) -> list[tuple[int, float]]:
    """Every answer by a pass of its own over the ids written out."""
    row, unseen = (pipeline.llm.encode_pieces(text) for text in ("\n", " ?"))
    parts = [
        (None, [*row, 40]),
        (1, [43, 90]),
        (None, [46]),
        (3, [*row, *unseen, 60]),
        (None, [52]),
        (5, [*unseen, 71]),
    ]
    ids, predicted = list(pipeline.llm.start_ids), []
    for cell, part in parts:
        ids += part
        if cell is not None:
            with torch.inference_mode():
                logprobs = (
                    pipeline.llm.model(input_ids=torch.tensor([ids]), use_cache=False)
                    .logits[0, -1]
                    .log_softmax(dim=-1)
                )
            weighed = [
                logprobs[i].item() + prior_weight * prior for i, prior in zip(*CHOICES[cell], strict=True)
            ]
            best = CHOICES[cell].ids[max(range(len(weighed)), key=weighed.__getitem__)]
            predicted.append((best, logprobs[best].item()))
    return predicted


@pytest.mark.parametrize("prior_weight", [0.0, 1.0, 30.0])
def test_answers_equal_those_of_a_pass_each(pipeline: Pipeline, prior_weight: float) -> None:
    settings = replace(ADAPTER, prior_weight=prior_weight)
    predicted = predict_map(pipeline, map_query(pipeline, MAP, 3, CHOICES, settings), settings)
    assert [window.cells for window in predicted] == [(1,), (3,), (5,)]
    assert [window.given for window in predicted] == [(43, 90), (60,), (71,)]
    expected = plain(pipeline, prior_weight)
    assert [window.ids for window in predicted] == [(token,) for token, _ in expected]
    assert [window.loglikelihood for window in predicted] == pytest.approx(
        [likelihood for _, likelihood in expected], abs=1e-4
    )
    if prior_weight == 30:
        assert [window.ids for window in predicted] == [(90,), (60,), (71,)]


def test_candidates_are_drawn_each_in_its_own_way(pipeline: Pipeline) -> None:
    settings = replace(ADAPTER, temperature=2.0, prior_weight=0.0)
    question = map_query(pipeline, MAP, 3, CHOICES, settings)
    drawn = [
        tuple(window.ids for window in predict_map(pipeline, question, settings, number))
        for number in range(12)
    ]
    assert drawn == [
        tuple(window.ids for window in predict_map(pipeline, question, settings, number))
        for number in range(12)
    ]
    assert len(set(drawn)) > 2


def test_hidden_pixels_change_nothing(pipeline: Pipeline) -> None:
    image, mask = torch.rand(3, 80, 80, generator=torch.Generator().manual_seed(0)), centre_mask((80, 80))
    noise = torch.where(mask, torch.rand(3, 80, 80), image)
    settings = replace(ADAPTER, num_samples=2, temperature=1.0)
    first, second = (inpaint(pipeline, pixels, mask, settings) for pixels in (image, noise))
    assert first.log == second.log
    assert len(first.sample_loglikelihoods) == 2
    assert torch.equal(first.tokens.local_ids, second.tokens.local_ids)
    assert {cell for window in first.log for cell in window.cells} == set(
        first.hidden.flatten().nonzero().flatten().tolist()
    )
    assert all(window.ids[0] in first.candidates[window.cells[0]].ids for window in first.log)


def test_corrupted_maps_show_the_corrupted_token_and_the_first_candidate(pipeline: Pipeline) -> None:
    photographs = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    done = repair(pipeline, photographs[0], Rotation(), list(photographs[1:]), ADAPTER)
    shown = done.realigned.flatten().tolist()
    assert [window.given for window in done.log] == [
        (shown[cell], done.candidates[cell].ids[0]) for cell in range(len(shown))
    ]


def test_a_map_longer_than_the_context_and_an_unknown_reading_are_refused() -> None:
    pipeline = tiny_pipeline(context=8)
    with pytest.raises(V2LError, match="8 tokens together"):
        predict_map(pipeline, map_query(pipeline, MAP, 3, CHOICES, ADAPTER), ADAPTER)
    with pytest.raises(V2LError, match="windows, map"):
        RestorationSettings(scope="aloud")
