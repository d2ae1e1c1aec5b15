"""Tokens of a batch: each image's own, readable, and changed only where asked."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from v2l.tokens import ImageTokens, Word


@pytest.fixture
def tokens() -> ImageTokens:
    """Three images, two global words each, a grid of two rows and four columns."""
    words = tuple(
        tuple(Word(f"word {image}.{place}", (image, place), 1 - place / 10) for place in range(2))
        for image in range(3)
    )
    return ImageTokens(torch.arange(6).view(3, 2), torch.arange(24).view(3, 2, 4), words)


def test_its_length_is_the_number_of_images(tokens: ImageTokens) -> None:
    assert len(tokens) == 3


@pytest.mark.parametrize("index", [0, 2, -1, -3])
def test_one_image_keeps_its_batch_axis(tokens: ImageTokens, index: int) -> None:
    one = tokens[index]
    assert len(one) == 1
    assert torch.equal(one.global_ids, tokens.global_ids[index][None])
    assert torch.equal(one.local_ids, tokens.local_ids[index][None])
    assert one.words == (tokens.words[index],)


@pytest.mark.parametrize("index", [3, -4])
def test_an_image_that_is_not_there_is_an_index_error(tokens: ImageTokens, index: int) -> None:
    with pytest.raises(IndexError):
        tokens[index]


def test_images_can_be_walked_through(tokens: ImageTokens) -> None:
    images = list(tokens)
    assert [one.strings() for one in images] == [
        ["word 0.0", "word 0.1"],
        ["word 1.0", "word 1.1"],
        ["word 2.0", "word 2.1"],
    ]
    assert torch.equal(torch.cat([one.local_ids for one in images]), tokens.local_ids)


def test_tokens_without_words_can_be_indexed_too() -> None:
    assert ImageTokens(torch.zeros(2, 1), torch.zeros(2, 4, 4))[1].words == ()


def test_other_local_tokens_leave_the_rest_and_the_original(tokens: ImageTokens) -> None:
    changed = tokens.with_local_ids(tokens.local_ids + 1)
    assert torch.equal(changed.local_ids, tokens.local_ids + 1)
    assert torch.equal(changed.global_ids, tokens.global_ids)
    assert changed.words == tokens.words
    assert torch.equal(tokens.local_ids, torch.arange(24).view(3, 2, 4))


def test_strings_come_nearest_first_and_as_many_as_asked(tokens: ImageTokens) -> None:
    assert tokens.strings(1) == ["word 1.0", "word 1.1"]
    assert tokens.strings(1, count=1) == ["word 1.0"]


def test_reading_the_types_does_not_wait_for_torch() -> None:
    program = "import sys, v2l.tokens; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
