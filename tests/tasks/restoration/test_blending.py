"""A seam is closed: the picture's texture, the image's colours, and nothing of what is hidden."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from v2l.tasks.restoration.blending import membrane, seamless


def hole_of(rows: slice, columns: slice) -> Tensor:
    hole = torch.zeros(20, 24, dtype=torch.bool)
    hole[rows, columns] = True
    return hole


HOLES = [
    hole_of(slice(5, 15), slice(6, 16)),
    hole_of(slice(10, 20), slice(0, 24)),
    hole_of(slice(0, 3), slice(20, 24)),
]


@pytest.mark.parametrize("hole", HOLES, ids=["centre", "lower half", "corner"])
def test_a_picture_of_another_brightness_is_the_image(hole: Tensor) -> None:
    image = torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.2
    assert torch.allclose(seamless(image, image - 0.15, hole), image, atol=1e-5)


@pytest.mark.parametrize("hole", HOLES, ids=["centre", "lower half", "corner"])
def test_masked_pixels_are_not_used_and_others_stay(hole: Tensor) -> None:
    first, second, picture = torch.rand(3, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    done = seamless(first, picture, hole)
    assert torch.equal(done, seamless(torch.where(hole, second, first), picture, hole))
    assert torch.equal(done[:, ~hole], first[:, ~hole])
    assert 0 <= done.min() <= done.max() <= 1


def test_inside_each_value_is_the_mean_of_those_around_it() -> None:
    values = torch.rand(2, 20, 24, generator=torch.Generator().manual_seed(1))
    done = membrane(values, HOLES[0])
    around = (done[:, :-2, 1:-1] + done[:, 2:, 1:-1] + done[:, 1:-1, :-2] + done[:, 1:-1, 2:]) / 4
    inside = HOLES[0][1:-1, 1:-1]
    assert torch.allclose(done[:, 1:-1, 1:-1][:, inside], around[:, inside], atol=1e-5)
    assert torch.equal(done[:, ~HOLES[0]], values[:, ~HOLES[0]])


def test_a_plane_goes_on_through_the_hole() -> None:
    down, right = torch.meshgrid(torch.arange(20.0), torch.arange(24.0), indexing="ij")
    plane = (2 * down - right)[None]
    assert torch.allclose(membrane(torch.where(HOLES[0], 99.0, plane), HOLES[0]), plane, atol=1e-4)
