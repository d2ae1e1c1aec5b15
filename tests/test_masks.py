"""A mask says which pixels are filled, exactly, and an unfit one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from v2l.errors import V2LError
from v2l.masks import box_mask, centre_mask, check_mask, load_mask


def saved(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


def test_white_marks_what_to_fill(tmp_path: Path) -> None:
    mask = Image.new("L", (4, 3), 0)
    mask.putpixel((1, 2), 128)  # a soft edge counts as white from the middle on
    mask.putpixel((2, 2), 255)
    mask.putpixel((3, 2), 40)
    loaded = load_mask(saved(mask, tmp_path / "mask.png"), (3, 4))
    assert loaded.dtype == torch.bool
    assert loaded.nonzero().tolist() == [[2, 1], [2, 2]]


def test_a_grey_picture_is_no_mask(tmp_path: Path) -> None:
    mask = Image.new("L", (4, 3), 127)
    with pytest.raises(V2LError, match="not black and white: 100% of its pixels"):
        load_mask(saved(mask, tmp_path / "mask.png"), (3, 4))


def test_white_strokes_on_a_transparent_layer_are_a_mask(tmp_path: Path) -> None:
    mask = Image.new("RGBA", (4, 3), (0, 0, 0, 0))
    mask.putpixel((3, 0), (255, 255, 255, 255))
    assert load_mask(saved(mask, tmp_path / "mask.png"), (3, 4)).nonzero().tolist() == [[0, 3]]


@pytest.mark.parametrize(
    ("size", "colour", "complaint"),
    [
        ((5, 3), "white", "is 5 × 3 pixels; allowed: the image's size, 4 × 3"),
        ((3, 4), "white", "is 3 × 4 pixels"),
        ((4, 3), "black", "is empty"),
        ((4, 3), "white", "covers the whole image"),
    ],
)
def test_an_unfit_mask_is_refused(tmp_path: Path, size: tuple[int, int], colour: str, complaint: str) -> None:
    path = saved(Image.new("RGB", size, colour), tmp_path / "mask.png")
    with pytest.raises(V2LError, match=complaint):
        load_mask(path, (3, 4))


def test_a_mask_of_numbers_is_refused() -> None:
    with pytest.raises(V2LError, match=r"holds torch\.float32.*torch\.bool"):
        check_mask(torch.ones(3, 4), (3, 4))


@given(size=st.tuples(st.integers(1, 9), st.integers(1, 9)), box=st.tuples(*[st.integers(-2, 11)] * 4))
@settings(max_examples=200, deadline=None)
def test_a_box_covers_its_pixels_exactly_or_is_refused(
    size: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    left, top, right, bottom = box
    inside = {(y, x) for y in range(top, bottom) for x in range(left, right)}
    fits = (
        inside
        and all(0 <= y < size[0] and 0 <= x < size[1] for y, x in inside)
        and len(inside) < size[0] * size[1]
    )
    if not fits:
        with pytest.raises(V2LError):
            box_mask(box, size)
    else:
        assert {tuple(cell) for cell in box_mask(box, size).nonzero().tolist()} == inside


@pytest.mark.parametrize("size", [(8, 12), (5, 3), (1, 2), (2, 2), (2, 1), (101, 77)])
def test_the_centre_mask_leaves_a_border_to_look_at(size: tuple[int, int]) -> None:
    mask = centre_mask(size)
    assert mask.shape == size
    assert 0 < mask.sum() < mask.numel()
    low, high = mask.nonzero().amin(dim=0), torch.tensor(size) - 1 - mask.nonzero().amax(dim=0)
    assert (low - high).abs().max() <= 1, "as far from one side as from the other"


def test_the_centre_mask_is_a_quarter_of_the_area() -> None:
    assert centre_mask((8, 12)).nonzero().amin(dim=0).tolist() == [2, 3]
    assert centre_mask((8, 12)).sum() == 24


def test_one_pixel_has_no_centre_to_mask() -> None:
    with pytest.raises(V2LError, match="no centre and no border"):
        centre_mask((1, 1))
