"""Of words that repeat each other one is taken; specific names may be followed by their general one."""

from __future__ import annotations

import pytest
import torch

from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.codebook.variety import family, first_distinct, first_varied, phrase_parts
from v2l.errors import V2LError

WORDS = ["painted daisy", "common daisy", "daisy", "Daisies", "flower", "flower stalk", "painted lady"]


def test_phrases_share_no_word_and_single_words_may_follow() -> None:
    families, parts = [family(word) for word in WORDS], [phrase_parts(word) for word in WORDS]
    taken = first_varied(families, parts, range(len(WORDS)), 10)
    assert [WORDS[place] for place in taken] == ["painted daisy", "daisy", "flower", "flower stalk"]
    assert [WORDS[place] for place in first_distinct(families, range(len(WORDS)), 3)] == WORDS[:3]


def codebook(words: list[str]) -> Codebook:
    """Words whose cosines with the first axis fall from row to row."""
    angles = torch.linspace(0, 1, len(words))
    rows = torch.stack([angles.cos(), angles.sin()], dim=1)
    entries = tuple(Entry(word, (number,)) for number, word in enumerate(words))
    return Codebook(entries, rows, Source("llm", "a", "encoder", "b"))


def test_varied_words_keep_the_order_of_nearness() -> None:
    scores, rows = codebook(WORDS).nearest_varied(torch.tensor([[1.0, 0.0]]), 4)
    assert rows.tolist() == [[0, 2, 4, 5]]
    assert scores[0].tolist() == sorted(scores[0].tolist(), reverse=True)


def test_a_rule_that_skips_most_words_looks_at_all_of_them() -> None:
    words = [f"daisy {number}" for number in range(40)] + ["tree", "house"]
    assert codebook(words).nearest_varied(torch.tensor([[1.0, 0.0]]), 3)[1].tolist() == [[0, 40, 41]]


def test_more_words_than_there_are_is_refused_with_the_number() -> None:
    with pytest.raises(V2LError, match="asked for 5 words of a codebook with 4 distinct ones"):
        codebook(WORDS).nearest_varied(torch.tensor([[1.0, 0.0]]), 5)


def test_no_images_have_no_words() -> None:
    scores, rows = codebook(WORDS).nearest_varied(torch.empty(0, 2), 3)
    assert scores.shape == rows.shape == (0, 3)
