"""The corruption of an image is estimated from its pixels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from v2l.corruptions import KERNELS, Blur, Shift
from v2l.errors import V2LError
from v2l.images import load_image, resize_and_crop
from v2l.tasks.restoration.corruption_estimate import estimate_blur, estimate_shift, sharpness


@pytest.fixture(scope="module")
def photographs(samples: Path) -> list[torch.Tensor]:
    return [resize_and_crop(load_image(path), 128) for path in sorted(samples.rglob("*.jpg"))]


def test_a_wider_blur_is_less_sharp_and_is_estimated_as_wider(photographs: list[torch.Tensor]) -> None:
    squares = torch.stack(photographs)
    sharp = [sharpness(Blur(kernel).apply(squares)).log().mean().item() for kernel in KERNELS]
    assert sharp == sorted(sharp, reverse=True)
    kernels = [
        sum(estimate_blur(Blur(kernel).apply(one), photographs, 128).kernel for one in photographs)
        for kernel in KERNELS
    ]
    assert kernels == sorted(kernels)
    assert kernels[0] < kernels[-1]


def test_a_shift_is_estimated_from_its_seam(photographs: list[torch.Tensor]) -> None:
    shifts = [(16, 24), (-20, 10), (0, 0), (30, -30)]
    right = sum(
        estimate_shift(Shift(down / 128, across / 128).apply(image)) == Shift(down / 128, across / 128)
        for image in photographs
        for down, across in shifts
    )
    assert right / (len(shifts) * len(photographs)) > 0.6


def test_an_image_narrower_than_a_blur_is_refused(photographs: list[torch.Tensor]) -> None:
    with pytest.raises(V2LError, match="a larger image"):
        estimate_blur(torch.rand(3, 10, 50), photographs, 128)
