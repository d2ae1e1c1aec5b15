"""The start of a run: weights of a checkpoint only if they fit; images that are too small are counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_tokenizer import FOLDED, TRAINING, tiny_tokenizer

from v2l.config import Config
from v2l.datasets import CropSettings
from v2l.errors import V2LError
from v2l.images import save_image
from v2l.sources import find_images
from v2l.training.data import ImageBatches, TrainingImages, crop_settings
from v2l.training.loop import TrainingLoop
from v2l.training.recipes.grid import GridRecipe, loop_settings
from v2l.training.recipes.grid_run import RunSettings, Start, start_with


def loop_of(recipe: GridRecipe, run: Path) -> TrainingLoop:
    return TrainingLoop(recipe, loop_settings(recipe, run))


def test_a_new_run_begins_with_the_weights_of_a_checkpoint_and_no_other_may_go_on(
    samples: Path, tmp_path: Path
) -> None:
    other = tiny_tokenizer(seed=5)
    other.save_pretrained(tmp_path / "other")
    config = Config(model=FOLDED, training=replace(TRAINING, steps=2))
    images = TrainingImages(
        find_images(samples)[:4], crop_settings(config, 0), torch.zeros(4, 3, dtype=torch.int64)
    )
    settings = RunSettings(
        images.images.paths, tmp_path / "other", tmp_path / "run", "cpu", init=tmp_path / "other"
    )
    start = Start.of(config, settings)
    assert all(
        torch.equal(tensor, other.state_dict()[name]) for name, tensor in start.model.state_dict().items()
    )
    loop_of(start.recipe(images, 0), settings.run).train(0, lambda *_: None)
    with pytest.raises(V2LError, match=r"first weights = \w+, now None"):
        loop_of(Start.of(config, replace(settings, init=None)).recipe(images, 0), settings.run).resume()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    tiny_tokenizer(replace(FOLDED, z_channels=32)).save_pretrained(tmp_path / "wide")
    with pytest.raises(V2LError, match="misshapen"):
        start_with(tiny_tokenizer(), tmp_path / "wide")
    with pytest.raises(V2LError, match="manifest"):
        start_with(tiny_tokenizer(), tmp_path)


@pytest.mark.parametrize("workers", [0, 1])
def test_images_smaller_than_the_crop_are_enlarged_and_counted(tmp_path: Path, workers: int) -> None:
    for name, size in (("small", (20, 50)), ("wide", (40, 64)), ("tiny", (9, 9))):
        save_image(torch.rand(3, *size), tmp_path / f"{name}.png")
    images = TrainingImages(find_images(tmp_path), CropSettings(32, (32, 48), True, 0))
    shapes = [batch.images.shape for batch in ImageBatches(images, 3, workers=workers).between(0, 2)]
    assert shapes == [(3, 3, 32, 32)] * 2
    assert images.images.enlarged == 2
