"""Slices: the published choice of grid, and words of the overview and of each slice."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tiny_pipeline import tiny_pipeline

from v2l.errors import V2LError
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokenizers.slice_grid import choose_grid, slice_boxes
from v2l.tokenizers.slices.model import SliceSettings, SliceTokenizer

SIZES = [
    (8, 8),
    (336, 336),
    (337, 336),
    (672, 336),
    (500, 375),
    (1344, 336),
    (4000, 3000),
    (20000, 400),
    (3, 9000),
]


@pytest.fixture(scope="module")
def slices() -> SliceTokenizer:
    """The encoder reads 32 × 32 pixels."""
    return SliceTokenizer(namer=tiny_pipeline().grid.tagger)


def plain_grid(width: int, height: int, side: int) -> tuple[int, int] | None:
    """LLaVA-UHD, section 3.1: (columns, rows) by trying all, at most nine slices; None without slices."""
    n = min(math.ceil(width * height / (side * side)), 9)
    if n <= 1:
        return None
    best, smallest = None, math.inf
    for count in [n - 1, n, n + 1]:
        if count == 1 or count > 9:
            continue
        for columns in range(1, count + 1):
            for rows in range(1, count + 1):
                error = abs(math.log(width / height) - math.log(columns / rows))
                if columns * rows == count and error < smallest:
                    best, smallest = (columns, rows), error
    return best


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [260, 336, 448])
def test_the_grid_equals_a_plain_reading_of_the_paper(size: tuple[int, int], side: int) -> None:
    assert choose_grid(*size, side) == plain_grid(*size, side)


def test_well_known_grids() -> None:
    assert choose_grid(336, 336, 336) is None
    assert choose_grid(672, 1008, 336) == (2, 3)
    assert choose_grid(4000, 3000, 336) == (3, 3)
    assert choose_grid(20000, 400, 336) == (9, 1)


def test_slices_cover_the_image_row_by_row() -> None:
    boxes = slice_boxes(choose_grid(96, 64, 32))
    assert boxes[0] == (0, 0, 1, 1)
    assert len(boxes) == 7
    assert boxes[1] == (0, 0, 1 / 3, 1 / 2)
    assert boxes[4] == (0, 1 / 2, 1 / 3, 1)
    assert sum((right - left) * (bottom - top) for left, top, right, bottom in boxes[1:]) == pytest.approx(1)


def test_each_part_has_its_number_of_words_and_its_box(slices: SliceTokenizer) -> None:
    tokens = slices.encode(torch.rand(2, 3, 64, 64))
    assert tokens.ids.shape == (2, 3 + 4 * 2)
    assert tokens.layout.corners.shape == (2, 11, 4)
    assert tokens.layout.corners[0, 3].tolist() == [0, 0, 0.5, 0.5]
    assert all(len(words) == 11 for words in tokens.words)


def test_a_slice_is_named_by_its_own_pixels(slices: SliceTokenizer) -> None:
    image = torch.rand(3, 64, 64)
    part = slices.encode(image[None, :, :32, :32])
    whole = slices.encode(image[None])
    assert whole.words[0][3].word == part.words[0][0].word


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (40, 2000), (2000, 40)])
def test_extreme_sizes_have_words(slices: SliceTokenizer, size: tuple[int, int]) -> None:
    tokens = slices.encode(torch.rand(1, 3, *size))
    assert tokens.strings()[0]
    assert slices.explain(torch.rand(3, *size), tokens).picture.shape[0] == 3


def test_comma_and_line_break_are_the_only_marks_of_position(slices: SliceTokenizer) -> None:
    tagged = slices.image_words(torch.rand(1, 3, 64, 96), count=99)
    (text,) = tagged.written[0]
    overview, *rows = text.split("\n")
    assert len(overview.split(" ")) == 3
    assert [row.count(",") for row in rows] == [2, 2]
    assert not set(text) & set("()<>;:")


def test_the_checkpoint_that_ships_has_no_copy_of_the_words() -> None:
    tokenizer = load_tokenizer("slices", device="cpu")
    assert tokenizer.namer.ships
    assert tokenizer.vocabulary == load_tokenizer("v2l", device="cpu").vocabulary


def test_a_codebook_of_its_own_is_saved_with_it(slices: SliceTokenizer, tmp_path: Path) -> None:
    slices.save_pretrained(tmp_path / "slices")
    again = load_tokenizer(tmp_path / "slices", device="cpu")
    assert isinstance(again, SliceTokenizer)
    assert (again.settings(), again.namer.ships) == (slices.settings(), False)
    assert again.namer.codebook.words == slices.namer.codebook.words


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(V2LError, match=r"got slice_words 0; allowed: at least 1"):
        SliceSettings(slice_words=0)
