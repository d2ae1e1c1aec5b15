"""A large grid in tiles: one code a cell, every pixel blended to weight one, no border."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from v2l.tokenizers.cnn.tiling import Tiling, decode_in_tiles, encode_in_tiles, stretches

CUT = Tiling(side=6, overlap=2, single_pass=16)
FACTOR = 4


def encode(images: Tensor) -> Tensor:
    """The red value of each cell's first pixel: a network that looks at its own cell only."""
    return images[:, 0, ::FACTOR, ::FACTOR].long()


def decode(codes: Tensor) -> Tensor:
    """Each code as a flat cell."""
    return interpolate(codes[:, None].float(), scale_factor=FACTOR).expand(-1, 3, -1, -1)


@pytest.mark.parametrize("length", [1, 5, 6, 7, 11, 23, 40])
def test_own_parts_cover_an_axis_once(length: int) -> None:
    parts = stretches(length, CUT)
    assert [cell for part in parts for cell in range(part.own.start, part.own.stop)] == list(range(length))
    for part in parts:
        assert part.read.start <= part.own.start <= part.own.stop <= part.read.stop <= length
        assert part.read.stop - part.read.start <= CUT.side
    for left, right in itertools.pairwise(parts):
        assert left.read.stop - right.read.start >= CUT.overlap


@pytest.mark.parametrize("grid", [(3, 5), (7, 4), (13, 23)])
def test_tiles_of_a_local_network_give_what_one_pass_gives(grid: tuple[int, int]) -> None:
    codes = torch.randint(99, (2, *grid), generator=torch.Generator().manual_seed(0))
    images = decode(codes)
    assert torch.equal(encode_in_tiles(encode, images, FACTOR, CUT), codes)
    assert torch.allclose(decode_in_tiles(decode, codes, FACTOR, CUT), images)


def test_tiles_are_joined_on_the_device_of_the_codes() -> None:
    codes = torch.zeros(1, 7, 9, dtype=torch.int64, device="meta")
    images = decode_in_tiles(lambda part: decode(torch.zeros(part.shape)), codes, FACTOR, CUT)
    assert images.device == codes.device


def test_tiles_of_different_brightness_are_joined_without_a_step() -> None:
    calls = iter(range(100))

    def each_its_own_grey(codes: Tensor) -> Tensor:
        return torch.full((1, 3, codes.shape[1] * FACTOR, codes.shape[2] * FACTOR), float(next(calls)))

    image = decode_in_tiles(each_its_own_grey, torch.zeros(1, 4, 30, dtype=torch.int64), FACTOR, CUT)
    steps = image.diff(dim=-1).abs()
    assert steps.max() <= 1 / (CUT.overlap * FACTOR) * 1.5  # a step of 1 spread over the overlap
