"""Scores are log-probabilities of the LLM, and scoring rules are sums of their parts."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from v2l.errors import V2LError
from v2l.llm import Score
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.fewshot import FewShotFormat, channel_prompt, fewshot_prompt, list_prompt, support_orders
from v2l.tasks.classification.label_scoring import (
    CONTENT_FREE,
    LABEL_WEIGHT,
    SCORING_RULES,
    LabelQuery,
    log_gain,
)

SUPPORTS = [(("fur", "paw"), "cat"), (("wheel", "road"), "car")]
QUERY = LabelQuery(SUPPORTS, ("claw", "fur"), FewShotFormat("tuned"))


def test_label_scores_are_loglikelihoods_of_the_llm(pipeline: Pipeline) -> None:
    query = replace(QUERY, format=FewShotFormat("paper"))
    scores = SCORING_RULES["loglikelihood"](pipeline.llm, query)
    for label in ("cat", "car"):
        (whole,) = pipeline.llm.loglikelihood(
            [(fewshot_prompt(SUPPORTS, query.words, query.format), [f" {label}"])]
        )[0]
        assert scores[label] == pytest.approx(whole.total, abs=1e-4)


def test_per_token_divides_by_the_tokens(pipeline: Pipeline) -> None:
    summed, mean = (
        SCORING_RULES["loglikelihood"](pipeline.llm, replace(QUERY, per_token=choice))
        for choice in (False, True)
    )
    for label in ("cat", "car"):
        assert mean[label] == pytest.approx(
            summed[label] / len(pipeline.llm.encode_pieces(f" {label}")), abs=1e-5
        )


def test_rounds_average_over_one_example_of_each_label_at_a_time(pipeline: Pipeline) -> None:
    more = [*SUPPORTS, (("tail", "whiskers"), "cat")]
    first, second = (
        SCORING_RULES["loglikelihood"](pipeline.llm, replace(QUERY, supports=[cat, car]))
        for cat, car in ((more[0], more[1]), (more[2], more[1]))
    )
    expected = {label: (first[label] + second[label]) / 2 for label in first}
    assert SCORING_RULES["rounds"](pipeline.llm, replace(QUERY, supports=more)) == pytest.approx(
        expected, abs=1e-4
    )


def test_channel_scores_are_loglikelihoods_of_the_words(pipeline: Pipeline) -> None:
    scores = SCORING_RULES["channel"](pipeline.llm, QUERY)
    for label in ("cat", "car"):
        (whole,) = pipeline.llm.loglikelihood(
            [(channel_prompt(SUPPORTS, label, QUERY.format), [QUERY.format.words(QUERY.words)])]
        )[0]
        assert scores[label] == pytest.approx(whole.total, abs=1e-4)


def test_calibration_subtracts_the_scores_after_inputs_without_content(pipeline: Pipeline) -> None:
    plain, *empty = (
        SCORING_RULES["loglikelihood"](pipeline.llm, replace(QUERY, words=words))
        for words in (QUERY.words, *CONTENT_FREE)
    )
    expected = {label: plain[label] - sum(scores[label] for scores in empty) / len(empty) for label in plain}
    assert SCORING_RULES["calibrated"](pipeline.llm, QUERY) == pytest.approx(expected, abs=1e-4)


def test_alone_a_label_is_scored_after_its_own_examples_only(pipeline: Pipeline) -> None:
    scores = SCORING_RULES["alone"](pipeline.llm, QUERY)
    others_changed = replace(QUERY, supports=[SUPPORTS[0], (("table",), "car")])
    assert SCORING_RULES["alone"](pipeline.llm, others_changed)["cat"] == pytest.approx(
        scores["cat"], abs=1e-4
    )
    assert SCORING_RULES["channel"](pipeline.llm, others_changed)["cat"] != pytest.approx(
        SCORING_RULES["channel"](pipeline.llm, QUERY)["cat"], abs=1e-2
    )
    (whole,) = pipeline.llm.loglikelihood(
        [(channel_prompt(SUPPORTS[1:], "car", QUERY.format), [QUERY.format.words(QUERY.words)])]
    )[0]
    assert scores["car"] == pytest.approx(whole.total, abs=1e-4)


def test_contrast_is_the_gain_over_a_prompt_without_examples_token_by_token(pipeline: Pipeline) -> None:
    words = QUERY.format.words(QUERY.words)
    prompts = [channel_prompt(SUPPORTS[:1], "cat", QUERY.format), list_prompt(QUERY.format)]
    (found,), (usual,) = pipeline.llm.loglikelihood([(prompt, [words]) for prompt in prompts])
    gains = [
        math.log(0.5 * math.exp(p - b) + 0.5) for p, b in zip(found.per_token, usual.per_token, strict=True)
    ]
    assert SCORING_RULES["contrast"](pipeline.llm, QUERY)["cat"] == pytest.approx(sum(gains), abs=1e-3)


def test_a_word_that_no_example_explains_costs_at_most_log_2() -> None:
    usual = Score(-8.0, (-4.0, -4.0))
    assert log_gain(usual, usual) == 0
    assert log_gain(Score(-104.0, (-100.0, -4.0)), usual) == pytest.approx(math.log(0.5))
    assert log_gain(Score(-5.0, (-1.0, -4.0)), usual) == pytest.approx(math.log(0.5 * math.exp(3) + 0.5))


def test_both_is_the_weighted_sum_of_both_directions(pipeline: Pipeline) -> None:
    words, labels = (SCORING_RULES[rule](pipeline.llm, QUERY) for rule in ("alone", "rounds"))
    assert SCORING_RULES["both"](pipeline.llm, QUERY) == pytest.approx(
        {label: words[label] + LABEL_WEIGHT * labels[label] for label in words}
    )


def test_orders_of_the_support_are_averaged(pipeline: Pipeline) -> None:
    each = [
        SCORING_RULES["calibrated"](pipeline.llm, replace(QUERY, supports=order))
        for order in support_orders(SUPPORTS, 2)
    ]
    found = SCORING_RULES["calibrated"](pipeline.llm, replace(QUERY, orders=2))
    assert found == pytest.approx({label: (each[0][label] + each[1][label]) / 2 for label in found}, abs=1e-4)


@pytest.mark.parametrize("rule", SCORING_RULES)
def test_the_batch_size_changes_nothing(pipeline: Pipeline, rule: str) -> None:
    one, eight = (SCORING_RULES[rule](pipeline.llm, replace(QUERY, batch_size=size)) for size in (1, 8))
    assert one == pytest.approx(eight, abs=1e-4)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (("sea_horse", "sea horse"), "'sea horse' and 'sea_horse' read the same"),
        (("cat", "__"), "'__' has a name without tokens"),
    ],
)
def test_labels_with_equal_names_or_without_tokens_are_refused(
    pipeline: Pipeline, labels: tuple[str, str], complaint: str
) -> None:
    query = replace(QUERY, supports=[(("fur",), label) for label in labels])
    with pytest.raises(V2LError, match=complaint):
        query.check(pipeline.llm)


def test_a_prompt_beyond_the_context_is_refused_with_its_length_and_what_to_lower(pipeline: Pipeline) -> None:
    with pytest.raises(
        V2LError, match=r"prompt of \d+ tokens .* 512 tokens together.* fewer shots, ways, words or repeats"
    ):
        SCORING_RULES["loglikelihood"](pipeline.llm, replace(QUERY, supports=SUPPORTS * 20))
