"""The mixture of prompts is the weighted sum of their log-probabilities, in any batch."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from v2l.errors import V2LError
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.denoise import Window, denoise_examples, denoise_query
from v2l.tasks.restoration.settings import RestorationSettings
from v2l.tasks.restoration.token_prediction import MaskedWindow, TokenPredictor, split_examples

SETTINGS = RestorationSettings(n_context=3, n_examples=4)
ALLOWED = frozenset(range(40, 300, 3))
EXAMPLES = tuple(Window((40 + i, 43 + i, 46 + i), (100 + i, 103 + i)) for i in range(0, 12, 3))


def masked_windows(settings: RestorationSettings) -> list[MaskedWindow]:
    """Three windows, each with examples of its own for each prompt."""
    draws = [EXAMPLES[i:] + EXAMPLES[:i] for i in range(settings.draws)]
    return [
        MaskedWindow((i, i + 1), (70 + i, 73, 76), (ALLOWED, ALLOWED), split_examples(draws, settings))
        for i in range(3)
    ]


def plain(
    pipeline: Pipeline, window: MaskedWindow, settings: RestorationSettings
) -> tuple[tuple[int, ...], float]:
    """A full pass a prompt and token, log-probabilities added by hand."""
    query = denoise_query(window.given, settings.prompt)
    prompts = [
        denoise_examples(some, settings.n_predict, settings.prompt) + query for some in window.examples
    ]
    weights = [1 / len(prompts)] * len(prompts)
    if settings.contrast:
        prompts.append(denoise_examples((), settings.n_predict, settings.prompt) + query)
        weights.append(-settings.contrast)
    ids, total, allowed = [], 0.0, sorted(ALLOWED)
    for _ in window.cells:
        mixed = torch.zeros(pipeline.llm.model.config.vocab_size)
        for prompt, weight in zip(prompts, weights, strict=True):
            with torch.inference_mode():
                logits = pipeline.llm.model(
                    input_ids=torch.tensor([[*pipeline.llm.encode(prompt), *ids]]), use_cache=False
                ).logits[0, -1]
            mixed += weight * logits.log_softmax(dim=-1)
        mixed = mixed.log_softmax(dim=-1)
        ids.append(allowed[int(mixed[allowed].argmax())])
        total += mixed[ids[-1]].item()
    return tuple(ids), total


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"contrast": 0.5},
        {"draws": 3},
        {"splits": 2},
        {"splits": 3, "draws": 2, "contrast": 0.7},
        {"prompt": "paper"},
    ],
    ids=str,
)
@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_answers_are_those_of_plain_full_passes(pipeline: Pipeline, changes: dict, batch_tokens: int) -> None:
    settings = replace(SETTINGS, batch_tokens=batch_tokens, **changes)
    queries = masked_windows(settings)
    for prediction, window in zip(
        TokenPredictor(pipeline.llm, settings).predict(queries), queries, strict=True
    ):
        ids, likelihood = plain(pipeline, window, settings)
        assert prediction.ids == ids
        assert prediction.loglikelihood == pytest.approx(likelihood, abs=1e-3)


@pytest.mark.parametrize("changes", [{}, {"splits": 2, "contrast": 0.5}], ids=str)
def test_examples_read_before_give_the_same_answers(pipeline: Pipeline, changes: dict) -> None:
    settings = replace(SETTINGS, **changes)
    predictor, queries = TokenPredictor(pipeline.llm, settings), masked_windows(settings)
    whole = predictor.predict(queries)
    bare = [replace(window, examples=()) for window in queries]
    assert [
        prediction.ids
        for prediction in predictor.predict(bare, shared=predictor.read_examples(queries[0].examples))
    ] == [prediction.ids for prediction in whole]
    each = predictor.read_examples_of_each([window.examples for window in queries])
    assert [
        predictor.predict([window], shared=contexts)[0].ids
        for window, contexts in zip(bare, each, strict=True)
    ] == [prediction.ids for prediction in whole]


def test_splits_distribute_the_same_examples() -> None:
    settings = replace(SETTINGS, splits=3)
    dealt = split_examples([EXAMPLES], settings)
    assert len(dealt) == settings.num_prompts == 3
    assert sorted(example for some in dealt for example in some) == sorted(EXAMPLES)


def test_weights_of_the_prompts_add_up() -> None:
    weights = replace(SETTINGS, splits=2, draws=3, contrast=0.5).prompt_weights
    assert sum(weights[:6]) == pytest.approx(1)
    assert weights[6:] == (-0.5,)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"prompt": "haiku"}, "tuned"),
        ({"order": "spiral"}, "raster, centre-out"),
        ({"num_samples": 3}, "--temperature 1"),
        ({"contrast": -1.0}, "contrast"),
        ({"draws": 0}, "draws"),
        ({"n_above": -1}, "n_above"),
        ({"n_context": -1}, "n_context"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict, part: str) -> None:
    with pytest.raises(V2LError, match=part):
        replace(SETTINGS, **change)
