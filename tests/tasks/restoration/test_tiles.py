"""Tiles cover an image, keep what is visible, and are filled inwards from the edges of a hole."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from v2l.corruptions import Blur
from v2l.errors import V2LError
from v2l.masks import box_mask
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.restoration.settings import RestorationSettings
from v2l.tasks.restoration.tiles import inpaint_tiles, repair_tiles, tiles

SETTINGS = RestorationSettings(n_context=2, n_before=0, n_examples=2, n_predict=4)


@given(st.integers(8, 60), st.integers(8, 60), st.integers(1, 8))
def test_tiles_cover_every_pixel_and_lie_inside(height: int, width: int, step: int) -> None:
    covered = torch.zeros(height, width, dtype=torch.bool)
    for tile in tiles((height, width), 8, step):
        assert covered[tile.slices].shape == (8, 8)
        covered[tile.slices] = True
    assert covered.all()


def test_a_hole_larger_than_a_tile_is_filled_and_the_rest_is_kept(pipeline: Pipeline) -> None:
    image = torch.rand(3, 100, 170, generator=torch.Generator().manual_seed(0))
    mask = box_mask((20, 4, 140, 96), (100, 170))
    steps: list[tuple[str, int, int]] = []
    done = inpaint_tiles(pipeline, image, mask, SETTINGS, lambda *step: steps.append(step))
    assert torch.equal(done.image[:, ~mask], image[:, ~mask])
    assert not torch.equal(done.image[:, mask], image[:, mask])
    assert steps[-1] == ("pixels", int(mask.sum()), int(mask.sum()))
    noise = torch.where(mask, torch.rand(3, 100, 170), image)
    again = inpaint_tiles(pipeline, noise, mask, SETTINGS)
    assert torch.equal(again.image, done.image)
    assert again.predictions == done.predictions
    assert len(done.grids) == len(done.log)


def test_a_blurred_image_is_put_together_at_its_own_size(pipeline: Pipeline) -> None:
    image, example = torch.rand(2, 3, 64, 100, generator=torch.Generator().manual_seed(0))
    done = repair_tiles(pipeline, image, Blur(5), [example], SETTINGS)
    assert done.image.shape == image.shape
    assert 0 <= done.image.min() <= done.image.max() <= 1
    assert [tile.left for tile, _, _ in done.log] == [0, 36]


def test_an_image_smaller_than_a_tile_is_refused(pipeline: Pipeline) -> None:
    image = torch.rand(3, 63, 100)
    with pytest.raises(V2LError, match="without --tiles"):
        inpaint_tiles(pipeline, image, box_mask((0, 0, 5, 5), (63, 100)), SETTINGS)
    with pytest.raises(V2LError, match="smaller than one tile"):
        repair_tiles(pipeline, image, Blur(5), [image], SETTINGS)
