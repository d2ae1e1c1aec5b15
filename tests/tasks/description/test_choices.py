"""Answers are scored by the sums of log-probabilities that their prompts give, in any batch."""

from __future__ import annotations

from statistics import fmean

import pytest
from tiny_llm import tiny_llm

from v2l.errors import V2LError
from v2l.llm import FrozenLLM
from v2l.prompts.choices import ANY_KIND, channel_prompt, kind_continuation, kind_prompt, words_continuation
from v2l.tasks.description.choices import KIND_WEIGHT, Choice, score_answers, score_kinds


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    return tiny_llm()


def one(llm: FrozenLLM, prompt: object, continuation: object) -> float:
    return llm.loglikelihood([(prompt, [continuation])])[0][0].total


def plain_kind(llm: FrozenLLM, words: list[str], kind: str) -> float:
    of_words = [one(llm, kind_prompt(word), kind_continuation(kind)) for word in words]
    return fmean(of_words) - one(llm, ANY_KIND, kind_continuation(kind))


def test_scores_equal_a_plain_reading(llm: FrozenLLM) -> None:
    words, answers = ("straw", "hat", "red", "dress", "table"), ("hat", "red dress", "shoes")
    choices = [Choice(words, answers), Choice(("shoes",), ("pants", "hat"))]
    for choice, scores in zip(choices, score_answers(llm, choices), strict=True):
        some = list(choice.words[:3])
        assert scores == pytest.approx(
            {
                answer: one(llm, channel_prompt(answer), words_continuation(some))
                + KIND_WEIGHT * plain_kind(llm, some, answer)
                for answer in choice.answers
            },
            abs=1e-3,
        )


def test_kinds_equal_a_plain_reading(llm: FrozenLLM) -> None:
    words = [["straw", "hat", "red", "dress", "table", "summer"], ["shoes"]]
    found = score_kinds(llm, words, ["hat", "dress"])
    expected = [plain_kind(llm, words[0][:5], "hat"), plain_kind(llm, words[1], "dress")]
    assert found == pytest.approx(expected, abs=1e-3)
    assert score_kinds(llm, [], []) == []


@pytest.mark.parametrize(("words", "answers"), [((), ("a", "b")), (("hat",), ("a",)), (("hat",), ("a", "a"))])
def test_what_cannot_be_chosen_is_refused(words: tuple[str, ...], answers: tuple[str, ...]) -> None:
    with pytest.raises(V2LError, match="1 word and more, and 2 answers and more"):
        Choice(words, answers)
