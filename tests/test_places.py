"""Parts of an image have a share, a box and a position in plain words."""

from __future__ import annotations

import pytest
import torch

from v2l.places import Area, PlacedWord, describe_places
from v2l.tokens import Boxes, CellGrid, ClusterMap, VisualTokens


@pytest.mark.parametrize(
    ("box", "position"),
    [
        ((0, 0, 1, 1), "whole image"),
        ((0.02, 0.03, 0.98, 1), "whole image"),
        ((0, 0, 0.3, 0.3), "top left"),
        ((0.4, 0.4, 0.6, 0.6), "centre"),
        ((0, 0.4, 0.3, 0.6), "centre left"),
        ((0.7, 0.1, 1, 0.2), "top right"),
        ((0, 0.7, 1, 1), "bottom"),
        ((0.7, 0, 1, 1), "centre right"),
        ((0.1, 0.1, 0.9, 0.9), "centre"),
    ],
)
def test_a_box_has_a_position(box: tuple[float, ...], position: str) -> None:
    assert Area.of_box(box).position == position


def test_the_printed_line_is_that_of_the_documentation() -> None:
    dog = Area(0.41, (0.0, 0.2, 0.5, 0.8), (0.2, 0.5))
    grass, sky = Area(0.38, (0, 0.6, 1, 1), (0.5, 0.8)), Area(0.14, (0, 0, 1, 0.2), (0.5, 0.1))
    words = [PlacedWord(*pair) for pair in (("dog", 0.9, dog), ("grass", 0.8, grass), ("sky", 0.7, sky))]
    assert (
        describe_places(words)
        == "dog (41 % of the image, centre left), grass (38 %, bottom), sky (14 %, top)"
    )


def test_words_of_one_place_are_listed_together() -> None:
    whole, left = Area.of_box((0, 0, 1, 1)), Area.of_box((0, 0, 0.5, 1))
    words = [PlacedWord(word, 1.0, area) for word, area in (("a", whole), ("b", whole), ("c", left))]
    assert describe_places(words) == "a, b (whole image); c (50 %, centre left)"


def test_a_small_part_is_not_rounded_to_nothing() -> None:
    assert (
        describe_places([PlacedWord("ant", 1.0, Area.of_box((0, 0, 0.01, 0.01)))])
        == "ant (under 1 % of the image, top left)"
    )


def test_clusters_have_shares_boxes_and_centres() -> None:
    cells = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, -1]]])
    first, second = ClusterMap(cells).areas(0)
    assert first == Area(0.5, (0.0, 0.0, 0.5, 1.0), (0.25, 0.5))
    assert (second.share, second.box) == (0.375, (0.5, 0.0, 1.0, 1.0))
    assert second.centre[0] == pytest.approx((2.5 + 3.5 + 2.5) / 3 / 4)


def test_grids_and_boxes_have_areas_too() -> None:
    assert CellGrid(2, 2).areas(0)[3] == Area.of_box((0.5, 0.5, 1.0, 1.0))
    corners = torch.tensor([[[0.0, 0.0, 0.5, 0.5], [0.0, 0.0, 0.0, 0.0]]])
    mask = torch.tensor([[True, False]])
    tokens = VisualTokens("words", torch.zeros(1, 2, dtype=torch.int64), mask=mask, layout=Boxes(corners))
    assert tokens.areas() == [Area.of_box((0.0, 0.0, 0.5, 0.5))]
