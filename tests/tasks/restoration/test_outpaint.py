"""Outpainting is blind, keeps the image bit by bit, and grows it by the given border."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.images import load_image
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.restoration.inpaint import inpaint
from v2l.tasks.restoration.outpaint import Border, on_canvas, outpaint
from v2l.tasks.restoration.settings import RestorationSettings

SETTINGS = RestorationSettings(n_context=4, n_examples=3)


@pytest.fixture(scope="module")
def image(samples: Path) -> Tensor:
    return load_image(sorted(samples.rglob("*.jpg"))[0])[:, :90, :120].clone()


@pytest.mark.parametrize("border", [Border(right=40), Border(left=10, top=7), Border(5, 5, 5, 5)])
def test_the_image_stays_in_its_place_bit_by_bit(pipeline: Pipeline, image: Tensor, border: Border) -> None:
    done = outpaint(pipeline, image, border, SETTINGS)
    assert done.image.shape == (3, 90 + border.top + border.bottom, 120 + border.left + border.right)
    assert torch.equal(done.image[:, border.top : border.top + 90, border.left : border.left + 120], image)


def test_pixels_beyond_the_edge_change_nothing(pipeline: Pipeline, image: Tensor) -> None:
    canvas, mask = on_canvas(image, Border(right=40))
    noise = torch.where(mask, torch.rand(canvas.shape, generator=torch.Generator().manual_seed(0)), canvas)
    first, second = inpaint(pipeline, canvas, mask, SETTINGS), inpaint(pipeline, noise, mask, SETTINGS)
    assert first.log == second.log  # the prompts' tokens and the answers
    assert torch.equal(first.tokens.local_ids, second.tokens.local_ids)
    assert torch.equal(first.tokens.global_ids, second.tokens.global_ids)
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.image, outpaint(pipeline, image, Border(right=40), SETTINGS).image)


@pytest.mark.parametrize("sides", [(0, 0, 0, 0), (-1, 0, 5, 0)])
def test_borders_without_sense_are_refused(sides: tuple[int, int, int, int]) -> None:
    with pytest.raises(V2LError, match="--right 64"):
        Border(*sides)
