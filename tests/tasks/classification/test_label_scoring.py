"""Scores are the LLM's own log-probabilities, and rules are sums of their pieces."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from v2l.errors import V2LError
from v2l.llm import Score
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.fewshot import FewShotFormat, channel_prompt, fewshot_prompt, list_prompt, support_orders
from v2l.tasks.classification.label_scoring import CONTENT_FREE, RULES, WEIGHT, LabelQuery, raised

SUPPORTS = [(("fur", "paw"), "cat"), (("wheel", "road"), "car")]
ASKED = LabelQuery(SUPPORTS, ("claw", "fur"), FewShotFormat("tuned"))


def test_label_scores_are_the_llms_loglikelihoods(pipeline: Pipeline) -> None:
    asked = replace(ASKED, format=FewShotFormat("paper"))
    scores = RULES["loglikelihood"](pipeline.llm, asked)
    for label in ("cat", "car"):
        (whole,) = pipeline.llm.loglikelihood(
            [(fewshot_prompt(SUPPORTS, asked.query, asked.format), [f" {label}"])]
        )[0]
        assert scores[label] == pytest.approx(whole.total, abs=1e-4)


def test_per_token_divides_by_the_tokens(pipeline: Pipeline) -> None:
    summed, mean = (
        RULES["loglikelihood"](pipeline.llm, replace(ASKED, per_token=choice)) for choice in (False, True)
    )
    for label in ("cat", "car"):
        assert mean[label] == pytest.approx(
            summed[label] / len(pipeline.llm.encode_pieces(f" {label}")), abs=1e-5
        )


def test_rounds_average_over_one_example_of_each_label_at_a_time(pipeline: Pipeline) -> None:
    more = [*SUPPORTS, (("tail", "whiskers"), "cat")]
    first, second = (
        RULES["loglikelihood"](pipeline.llm, replace(ASKED, supports=[cat, car]))
        for cat, car in ((more[0], more[1]), (more[2], more[1]))
    )
    expected = {label: (first[label] + second[label]) / 2 for label in first}
    assert RULES["rounds"](pipeline.llm, replace(ASKED, supports=more)) == pytest.approx(expected, abs=1e-4)


def test_the_channels_scores_are_the_llms_loglikelihoods_of_words(pipeline: Pipeline) -> None:
    scores = RULES["channel"](pipeline.llm, ASKED)
    for label in ("cat", "car"):
        (whole,) = pipeline.llm.loglikelihood(
            [(channel_prompt(SUPPORTS, label, ASKED.format), [ASKED.format.words(ASKED.query)])]
        )[0]
        assert scores[label] == pytest.approx(whole.total, abs=1e-4)


def test_calibration_takes_out_what_the_llm_likes_anyway(pipeline: Pipeline) -> None:
    plain, *empty = (
        RULES["loglikelihood"](pipeline.llm, replace(ASKED, query=words))
        for words in (ASKED.query, *CONTENT_FREE)
    )
    expected = {label: plain[label] - sum(liking[label] for liking in empty) / len(empty) for label in plain}
    assert RULES["calibrated"](pipeline.llm, ASKED) == pytest.approx(expected, abs=1e-4)


def test_alone_a_label_sees_its_own_examples_only(pipeline: Pipeline) -> None:
    scores = RULES["alone"](pipeline.llm, ASKED)
    others_changed = replace(ASKED, supports=[SUPPORTS[0], (("table",), "car")])
    assert RULES["alone"](pipeline.llm, others_changed)["cat"] == pytest.approx(scores["cat"], abs=1e-4)
    assert RULES["channel"](pipeline.llm, others_changed)["cat"] != pytest.approx(
        RULES["channel"](pipeline.llm, ASKED)["cat"], abs=1e-2
    )
    (whole,) = pipeline.llm.loglikelihood(
        [(channel_prompt(SUPPORTS[1:], "car", ASKED.format), [ASKED.format.words(ASKED.query)])]
    )[0]
    assert scores["car"] == pytest.approx(whole.total, abs=1e-4)


def test_contrast_is_the_gain_over_no_example_token_by_token(pipeline: Pipeline) -> None:
    words = ASKED.format.words(ASKED.query)
    prompts = [channel_prompt(SUPPORTS[:1], "cat", ASKED.format), list_prompt(ASKED.format)]
    (found,), (usual,) = pipeline.llm.loglikelihood([(prompt, [words]) for prompt in prompts])
    gains = [
        math.log(0.5 * math.exp(p - b) + 0.5) for p, b in zip(found.per_token, usual.per_token, strict=True)
    ]
    assert RULES["contrast"](pipeline.llm, ASKED)["cat"] == pytest.approx(sum(gains), abs=1e-3)


def test_what_nothing_explains_cannot_decide() -> None:
    usual = Score(-8.0, (-4.0, -4.0))
    assert raised(usual, usual) == 0
    assert raised(Score(-104.0, (-100.0, -4.0)), usual) == pytest.approx(math.log(0.5))
    assert raised(Score(-5.0, (-1.0, -4.0)), usual) == pytest.approx(math.log(0.5 * math.exp(3) + 0.5))


def test_both_is_the_sum_of_both_directions(pipeline: Pipeline) -> None:
    words, labels = (RULES[rule](pipeline.llm, ASKED) for rule in ("alone", "rounds"))
    assert RULES["both"](pipeline.llm, ASKED) == pytest.approx(
        {label: words[label] + WEIGHT * labels[label] for label in words}
    )


def test_orders_of_the_support_are_averaged(pipeline: Pipeline) -> None:
    each = [
        RULES["calibrated"](pipeline.llm, replace(ASKED, supports=order))
        for order in support_orders(SUPPORTS, 2)
    ]
    found = RULES["calibrated"](pipeline.llm, replace(ASKED, orders=2))
    assert found == pytest.approx({label: (each[0][label] + each[1][label]) / 2 for label in found}, abs=1e-4)


@pytest.mark.parametrize("rule", RULES)
def test_the_batch_size_changes_nothing(pipeline: Pipeline, rule: str) -> None:
    one, eight = (RULES[rule](pipeline.llm, replace(ASKED, batch_size=size)) for size in (1, 8))
    assert one == pytest.approx(eight, abs=1e-4)


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        (("sea_horse", "sea horse"), "'sea horse' and 'sea_horse' read the same"),
        (("cat", "__"), "'__' has a name without tokens"),
    ],
)
def test_labels_that_cannot_be_told_apart_or_read_are_refused(
    pipeline: Pipeline, labels: tuple[str, str], complaint: str
) -> None:
    asked = replace(ASKED, supports=[(("fur",), label) for label in labels])
    with pytest.raises(V2LError, match=complaint):
        asked.check(pipeline.llm)


def test_a_prompt_beyond_the_context_says_how_long_it_is_and_what_to_lower(pipeline: Pipeline) -> None:
    with pytest.raises(
        V2LError, match=r"prompt of \d+ tokens .* 512 tokens together.* fewer shots, ways, words or repeats"
    ):
        RULES["loglikelihood"](pipeline.llm, replace(ASKED, supports=SUPPORTS * 20))
