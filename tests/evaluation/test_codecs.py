"""Codecs get as many bytes as the tokens cost or more, at the lowest quality that does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from v2l.evaluation.codecs import CODECS, compress, compress_all, shrink
from v2l.images import encode_image, load_image, resize_and_crop


@pytest.fixture(scope="module")
def photograph(samples: Path) -> Tensor:
    return resize_and_crop(load_image(samples / "dress" / "flowers.jpg"), 128)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("budget", [900, 2000])
def test_the_file_is_not_below_the_budget_and_one_step_lower_it_is(
    codec: str, budget: int, photograph: Tensor
) -> None:
    through = compress(photograph, codec, budget)
    assert through.size >= budget
    assert through.image.shape == photograph.shape
    lower = through.quality - 1 / CODECS[codec].steps
    quality = lower if CODECS[codec].steps > 1 else round(lower)
    assert len(encode_image(photograph, quality=quality, **CODECS[codec].options)) < budget


@pytest.mark.parametrize("codec", CODECS)
def test_below_its_smallest_file_a_codec_gives_its_smallest(codec: str, photograph: Tensor) -> None:
    assert compress(photograph, codec, 1).quality == 0


@pytest.mark.parametrize("codec", CODECS)
def test_an_image_that_never_fills_the_budget_gets_the_highest_quality(codec: str) -> None:
    assert compress(torch.full((3, 32, 32), 0.5), codec, 10**6).quality == 100


def test_the_budget_of_webp_is_met_closely(photograph: Tensor) -> None:
    assert compress(photograph, "WebP", 900).size < 900 * 1.03


def test_a_batch_is_each_image_alone(photograph: Tensor) -> None:
    images, sizes = compress_all(torch.stack([photograph, photograph.flip(-1)]), "WebP", 800)
    alone = compress(photograph.flip(-1), "WebP", 800)
    assert torch.equal(images[1], alone.image)
    assert sizes[1] == alone.size


def test_shrinking_keeps_one_mean_a_cell() -> None:
    flat = torch.rand(1, 3, 1, 1).expand(1, 3, 64, 32)
    assert torch.allclose(shrink(flat, (8, 4)), flat)
