"""Tokens of a batch: each image keeps its own, whatever their kind, number and layout."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from v2l.errors import V2LError
from v2l.tokens import Boxes, CellGrid, ClusterMap, ImageTokens, Outline, VisualTokens, Word


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


def test_strings_come_nearest_first_and_as_many_as_wanted(tokens: ImageTokens) -> None:
    assert tokens.strings(1) == ["word 1.0", "word 1.1"]
    assert tokens.strings(1, count=1) == ["word 1.0"]


def test_reading_the_types_does_not_wait_for_torch() -> None:
    program = "import sys, v2l.tokens; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def padded() -> VisualTokens:
    """Two images with three and one token, as clusters of a map of two rows and three columns."""
    cells = torch.tensor([[[0, 0, 1], [2, 2, 1]], [[0, 0, 0], [0, -1, -1]]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    words = (
        (Word("sky", (), 0.9), Word("", (), 0.0), Word("sea", (), 0.8)),
        (Word("wall", (), 0.7),),
    )
    return VisualTokens("words", torch.arange(6).view(2, 3), mask=mask, layout=ClusterMap(cells), words=words)


def test_images_have_different_numbers_of_tokens() -> None:
    tokens = padded()
    assert (tokens.places(0), tokens.places(1)) == ([0, 1, 2], [0])
    assert tokens[1].places() == [0]
    assert tokens[1].strings() == ["wall"]
    assert [len(tokens[index].outlines()) for index in range(2)] == [3, 1]


def test_a_cluster_is_bordered_by_edges_towards_other_tokens_only() -> None:
    outlines = padded().outlines(0)
    assert outlines[1].anchor == (2 / 3, 0.0)
    assert len(outlines[1].segments) == 6  # two cells, one above the other: eight sides less the shared two
    assert sum(length for outline in outlines for length in map(extent, outline.segments)) > 0


def extent(segment: tuple[float, float, float, float]) -> float:
    """The length of a line that is horizontal or vertical."""
    x0, y0, x1, y1 = segment
    return abs(x1 - x0) + abs(y1 - y0)


def test_boxes_are_selected_with_their_images() -> None:
    corners = torch.tensor([[[0.0, 0.0, 0.5, 1.0]], [[0.25, 0.5, 1.0, 1.0]]])
    tokens = VisualTokens("embeddings", embeddings=torch.zeros(2, 1, 4), layout=Boxes(corners))
    (outline,) = tokens[1].outlines()
    assert outline == Outline.box(0.25, 0.5, 1.0, 1.0)


def test_a_sequence_without_a_layout_covers_nothing_in_particular() -> None:
    tokens = VisualTokens("codes", torch.zeros(2, 32, dtype=torch.int64))
    assert (tokens.outlines(), len(tokens.places()), len(tokens)) == ([], 32, 2)
    assert tokens.strings() == []


def test_the_grid_is_codes_with_a_grid_layout(tokens: ImageTokens) -> None:
    assert isinstance(tokens, VisualTokens)
    assert (tokens.kind, tokens.layout) == ("codes", CellGrid(2, 4))
    assert torch.equal(tokens.ids, tokens.local_ids.flatten(1))
    assert len(tokens[1].outlines()) == len(tokens.places()) == 8


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"kind": "pictures", "ids": torch.zeros(1, 2)}, "kind 'pictures'"),
        ({"kind": "words"}, "without ids"),
        ({"kind": "embeddings", "ids": torch.zeros(1, 2)}, "without embeddings"),
        ({"kind": "codes", "ids": torch.zeros(1, 2), "mask": torch.ones(1, 3)}, "mask of shape"),
    ],
)
def test_tokens_that_do_not_hold_together_are_refused(fields: dict, part: str) -> None:
    with pytest.raises(V2LError, match=part):
        VisualTokens(**fields)
