"""A page shows every image with its nearest words of each length."""

from __future__ import annotations

import torch
from torch.nn import functional

from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.codebook.page import words_by_order, words_page

WORDS = (Entry("dog", (1,)), Entry("dogs", (2,)), Entry("hat", (3,)), Entry("red hat", (4, 3), 2))


def test_each_length_has_its_own_nearest_words_and_one_of_a_family() -> None:
    book = Codebook(WORDS, functional.normalize(torch.eye(4) + 0.1, dim=-1), Source("l", "l", "e", "e"))
    near_dogs, near_hat = words_by_order(book, book.embeddings[[1, 2]], 2)
    assert {title: [word.word for word in words] for title, words in near_dogs.items()} == {
        "subwords": ["dogs", "hat"],
        "bigrams": ["red hat"],
    }
    assert [word.word for word in near_hat["subwords"]] == ["hat", "dog"]
    assert near_hat["bigrams"][0].ids == (4, 3)
    assert abs(near_hat["subwords"][0].score - 1) < 1e-6


def test_a_page_has_four_pictures_a_row() -> None:
    book = Codebook(WORDS, torch.eye(4), Source("l", "l", "e", "e"))
    words = words_by_order(book, torch.eye(4)[[0, 1, 2, 3, 0]], 2)
    pages = [words_page([torch.rand(3, 20, 30)] * count, words[:count]) for count in (1, 4, 5)]
    assert pages[0].shape[2] < pages[1].shape[2] == pages[2].shape[2]
    assert pages[0].shape[1] == pages[1].shape[1] < pages[2].shape[1]
