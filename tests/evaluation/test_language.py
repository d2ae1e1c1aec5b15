"""Perplexity of codes in order, and the completion of masked codes, beside chance and frequency."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import torch
from tiny_llm import tiny_llm
from tiny_titok import learned_titok

from v2l.errors import V2LError
from v2l.evaluation.language import (
    CANDIDATES,
    LanguageResult,
    LanguageSettings,
    chance_of_first,
    draw_candidates,
    evaluate_language,
    nats_a_word,
    page,
    report,
    sentences_of,
)
from v2l.images import Skipped
from v2l.llm import FrozenLLM
from v2l.llm.scoring import Score
from v2l.metrics import GroupedShare, Proportion

LLM = tiny_llm()


def greedy_sentence(start: int, count: int = 8) -> list[int]:
    """The LLM's own likeliest sentence: it has a language, for this LLM."""
    ids = [start]
    for _ in range(count - 1):
        with torch.inference_mode():
            ids.append(int(LLM.model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids


def test_nats_are_those_of_the_llms_own_logits() -> None:
    sentence = [20, 31, 44, 25]
    with torch.inference_mode():
        logits = LLM.model(torch.tensor([sentence])).logits[0].log_softmax(-1)
    plain = -sum(float(logits[place, word]) for place, word in enumerate(sentence[1:])) / 3
    assert nats_a_word(LLM, [sentence])[0] == pytest.approx(plain, abs=1e-4)


def test_sentences_that_the_llm_wrote_itself_are_likelier_in_order_and_completed() -> None:
    sentences = [greedy_sentence(start) for start in range(20, 32)]
    found = report(evaluate_language(sentences, LLM, LanguageSettings(places=1)))
    assert found["nats_a_word"]["value"] < found["nats_a_word_shuffled"]["value"]
    assert found["gain_of_order"]["interval"][0] > 0
    assert found["completion"]["value"] > 2 / CANDIDATES
    assert "12 masked words; chance 10.0%" in page(found)


def test_the_same_seed_gives_the_same_figures() -> None:
    sentences = [[20 + place + number for place in range(6)] for number in range(4)]
    one, two = (report(evaluate_language(sentences, LLM, LanguageSettings(seed=3))) for _ in range(2))
    assert one == two


def test_candidates_are_different_words_of_other_photographs() -> None:
    elsewhere = Counter({word: word for word in range(1, 30)})
    found = draw_candidates(7, elsewhere, Random(0))
    assert found[0] == 7
    assert len(found) == len(set(found)) == CANDIDATES
    assert set(found) <= elsewhere.keys()
    assert draw_candidates(1, Counter({1: 5, 2: 1}), Random(0)) == [1, 2]


def test_ties_of_frequency_share_the_chance() -> None:
    assert chance_of_first([3, 3, 1]) == 0.5
    assert chance_of_first([2, 3, 1]) == 0.0
    assert chance_of_first([4, 3, 1]) == 1.0


class Undecided:
    """An LLM for which all sentences are equally likely."""

    def loglikelihood(self, requests: list) -> list[list[Score]]:
        return [[Score(-1.0, (-1.0,)) for _ in continuations] for _, continuations in requests]


def test_equal_sentences_share_the_chance_as_equal_frequencies_do() -> None:
    sentences = [[20 + place + number for place in range(3)] for number in range(4)]
    found = report(evaluate_language(sentences, Undecided(), LanguageSettings()))
    assert found["chance"] > 1 / CANDIDATES  # other photographs have fewer than nine other words
    assert found["completion"]["value"] == found["chance"]


def test_masked_words_of_one_photograph_are_one_sample() -> None:
    chosen = [[1.0, 1.0]] * 6 + [[0.0, 0.0]] * 14
    nats, chances = [5.0, 6.0] * 10, [[0.1, 0.1]] * 20
    found = report(LanguageResult(nats, nats, chosen, chances, chances))
    assert found["masked"] == 40
    assert found["completion"] == GroupedShare.of(chosen).to_dict()
    assert found["completion"]["interval"] == pytest.approx(Proportion(6, 20).interval, abs=0.01)


def test_codes_that_are_no_words_are_refused() -> None:
    with pytest.raises(V2LError, match="no words of an LLM"):
        sentences_of(learned_titok(), [], 8, Skipped())


def test_fewer_than_three_photographs_are_refused() -> None:
    assert isinstance(LLM, FrozenLLM)
    with pytest.raises(V2LError, match="at least 3"):
        evaluate_language([[20, 21]], LLM, LanguageSettings())
