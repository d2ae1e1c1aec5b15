"""Words name a class by family or by head noun; shares are counted over images."""

from __future__ import annotations

import pytest
import torch

from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.evaluation.class_names import ClassNames
from v2l.evaluation.word_naming import evaluate_naming, skewness

WORDS = ["beagle", "terrier", "lamp", "perennation", *(f"word{letter}" for letter in "abcdefghi")]


@pytest.fixture
def words() -> Codebook:
    """Every word is an axis."""
    entries = tuple(Entry(word, (number,)) for number, word in enumerate(WORDS))
    return Codebook(entries, torch.eye(len(WORDS)), Source("llm", "a", "encoder", "b"))


def features(*orders: list[int]) -> torch.Tensor:
    """Vectors whose nearest words are the given rows, in this order."""
    rows = torch.zeros(len(orders), len(WORDS))
    for row, order in zip(rows, orders, strict=True):
        row[order] = torch.linspace(1, 0.5, len(order))
    return torch.nn.functional.normalize(rows, dim=-1)


def test_shares_of_names_and_of_head_nouns(words: Codebook) -> None:
    images = features([0, 4, 5], [4, 1, 5], [4, 5, 6])
    classes = [ClassNames(("Beagles",)), ClassNames(("Norfolk terrier",)), ClassNames(("table lamp",))]
    naming = evaluate_naming(images, words, classes, "distinct")
    assert [naming.own[count].successes for count in (1, 3)] == [1, 1]
    assert [naming.heads[count].successes for count in (1, 3)] == [1, 2]
    assert naming.own[1].n == 3
    assert naming.others[1].successes == 0


def test_words_that_no_list_has_are_counted(words: Codebook) -> None:
    naming = evaluate_naming(features([3, 0, 1, 2]), words, [ClassNames(("beagle",))], "distinct")
    unlisted = 1 + 4  # "perennation", and four words that end in a letter: eight words are read
    assert (naming.unlisted.value, naming.unlisted.n) == (unlisted / 8, 8)
    assert naming.to_dict()["unlisted_words"] == {"value": unlisted / 8, "interval": None, "words": 8}
    assert "not listed by wordfreq" in naming.page()


def test_unlisted_words_of_one_image_are_one_sample(words: Codebook) -> None:
    images = features(*[[3, 0, 1, 2]] * 12)
    naming = evaluate_naming(images, words, [ClassNames(("beagle",))] * 12, "distinct")
    assert (naming.unlisted.n, naming.unlisted.groups) == (8 * 12, 12)


def test_a_single_image_has_no_words_of_another_image(words: Codebook) -> None:
    naming = evaluate_naming(features([0, 1]), words, [ClassNames(("beagle",))], "distinct")
    assert naming.others == {}
    assert "words_of_another_image" not in naming.to_dict()
    assert "another image" not in naming.page()
    pair = evaluate_naming(features([0], [1]), words, [ClassNames(("beagle",))] * 2, "distinct")
    assert [pair.own[1].successes, pair.others[1].successes] == [1, 1]
    assert "another image" in pair.page()


def test_equal_frequencies_have_no_skewness_and_one_hub_has_much() -> None:
    assert skewness(torch.ones(10)) == 0
    hub = torch.zeros(1000)
    hub[0] = 50
    assert skewness(hub) > 30
