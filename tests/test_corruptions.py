"""Corruptions repeat with their generator, undo themselves where they can, and hide what the paper hides."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from v2l.corruptions import (
    KERNELS,
    REGIONS,
    SHIFTS,
    TASKS,
    Blur,
    Rotation,
    Shift,
    corner_crop,
    draw_corruption,
)
from v2l.errors import V2LError


@pytest.mark.parametrize("kernel", [6, 0, -3])
def test_a_blur_has_an_odd_side(kernel: int) -> None:
    with pytest.raises(V2LError, match=f"blur of {kernel} pixels"):
        Blur(kernel)


@given(st.floats(-0.9, 0.9), st.floats(-0.9, 0.9), st.integers(1, 30), st.integers(1, 30))
def test_a_shift_is_undone_exactly(down: float, right: float, height: int, width: int) -> None:
    images = torch.rand(2, 3, height, width)
    shift = Shift(down, right)
    assert torch.equal(shift.undo(shift.apply(images)), images)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_rotation_is_undone_exactly_and_exchanges_sides(quarters: int) -> None:
    images = torch.rand(1, 3, 5, 8)
    rotation = Rotation(quarters)
    assert torch.equal(rotation.undo(rotation.apply(images)), images)
    assert rotation.apply(images).shape[-2:] == ((8, 5) if quarters % 2 else (5, 8))


def test_one_quarter_turns_counter_clockwise() -> None:
    image = torch.tensor([[[1, 2], [3, 4]]])
    assert Rotation(1).apply(image).tolist() == [[[2, 4], [1, 3]]]


def test_a_shift_moves_down_and_right() -> None:
    image = torch.zeros(1, 4, 4)
    image[0, 0, 0] = 1
    assert Shift(0.25, 0.5).apply(image)[0].nonzero().tolist() == [[1, 2]]


def test_a_blur_is_a_gaussian_of_the_kernels_size() -> None:
    image = torch.zeros(1, 21, 21)
    image[0, 10, 10] = 1
    blurred = Blur(5).apply(image)[0]
    assert blurred.sum() == pytest.approx(1, abs=1e-5)
    assert blurred.nonzero().aminmax(dim=0).min.tolist() == [8, 8]
    sigma = 0.15 * 5 + 0.35
    assert (blurred[10, 11] / blurred[10, 10]).item() == pytest.approx(
        torch.tensor(-0.5 / sigma**2).exp().item(), rel=1e-4
    )
    assert Blur(5).undo(image) is None


@given(st.integers(0, 1000))
def test_drawn_corruptions_repeat_with_their_seed_and_stay_in_range(seed: int) -> None:
    first, second = (draw_corruption("unshift", torch.Generator().manual_seed(seed)) for _ in range(2))
    assert first == second
    assert all(SHIFTS[0] <= abs(size) <= SHIFTS[1] for size in (first.down, first.right))
    assert draw_corruption("deblur", torch.Generator().manual_seed(seed)).kernel in KERNELS
    assert draw_corruption("unrotate", torch.Generator()) == Rotation(1)


def test_regions_are_the_papers() -> None:
    regions = {task: REGIONS[task]((16, 16)) for task in TASKS}
    assert regions["inpaint"].nonzero().aminmax(dim=0).min.tolist() == [4, 4]
    assert regions["inpaint"].nonzero().aminmax(dim=0).max.tolist() == [11, 11]
    assert {task: int(cells.sum()) for task, cells in regions.items()} == {
        "inpaint": 64,
        "outpaint": 128,
        "deblur": 256,
        "unshift": 256,
        "unrotate": 256,
    }
    assert not regions["outpaint"][:8].any()


def test_the_official_shift_is_the_corners_crop() -> None:
    image = torch.arange(24.0).view(1, 4, 6)
    assert corner_crop(image, 3).tolist() == [image[0, 1:, 3:].tolist()]
    assert torch.equal(corner_crop(image[:, :, :4], 4), image[:, :, :4])
