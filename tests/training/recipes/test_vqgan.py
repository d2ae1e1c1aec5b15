"""A VQGAN through `v2l train`'s run: its codebook starts from features, and its result is a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_tokenizer import FOLDED, TRAINING, tiny_tokenizer
from tiny_vqgan import VQGAN_NETWORK

from v2l.config import Config
from v2l.errors import V2LError
from v2l.sources import find_images
from v2l.tokenizers.loading import load_tokenizer
from v2l.training.data import TrainingImages, crop_settings
from v2l.training.recipes.grid_run import RunSettings, Start, plan_training, train

NETWORK = replace(VQGAN_NETWORK, attention_levels=())  # that of `FOLDED` without words
CONFIG = Config(model=NETWORK, training=replace(TRAINING, steps=3, restart_after=2))


def settings_of(samples: Path, run: Path, init: Path | None = None) -> RunSettings:
    (run.parent / "bad.jpg").write_text("no image")
    files = [*find_images(samples)[:6], run.parent / "bad.jpg"]
    return RunSettings(files, Path("no codebooks"), run, "cpu", 3, init)


def ignore(step: int, terms: dict[str, float]) -> None:
    """No progress shown."""


def test_a_run_needs_no_codebooks_and_its_result_is_a_checkpoint(samples: Path, tmp_path: Path) -> None:
    settings = settings_of(samples, tmp_path / "run")
    result = train(CONFIG, settings, ignore)
    assert result.steps == 3
    assert [file.name for file in result.unreadable] == ["bad.jpg"]
    tokenizer = load_tokenizer(tmp_path / "run" / "model", device="cpu")
    assert tokenizer.describe()["tokenizer"] == "vqgan"
    assert plan_training(CONFIG, settings).images_per_step == 2
    assert train(CONFIG, settings, ignore).steps == 3, "a finished run goes on with nothing"


def test_the_codebook_starts_from_features_and_a_resumed_one_stays(samples: Path, tmp_path: Path) -> None:
    start = Start.of(CONFIG, settings_of(samples, tmp_path / "run"))
    start.model.save_pretrained(tmp_path / "vqgan")
    images = train_images(samples)
    recipe = start.recipe(images, seed=0)
    assert recipe.fit_steps == {0}
    before = start.model.quantizer.entries().clone()
    recipe.fit(0)
    spread = start.model.quantizer.entries().std()
    assert spread > 5 * before.std()
    again = Start.of(CONFIG, settings_of(samples, tmp_path / "run", tmp_path / "vqgan"))
    assert again.recipe(images, seed=0).fit_steps == set()


def test_it_can_start_with_the_networks_of_v2l(samples: Path, tmp_path: Path) -> None:
    words = tiny_tokenizer(FOLDED)
    words.save_pretrained(tmp_path / "words")
    start = Start.of(CONFIG, settings_of(samples, tmp_path / "run", tmp_path / "words"))
    for name, weight in start.model.encoder.state_dict().items():
        assert torch.equal(weight, words.encoder.state_dict()[name])
    assert start.recipe(train_images(samples), seed=0).fit_steps == {0}
    other = replace(CONFIG, model=replace(NETWORK, res_blocks=2))
    with pytest.raises(V2LError, match="do not fit"):
        Start.of(other, settings_of(samples, tmp_path / "run", tmp_path / "words"))


def train_images(samples: Path) -> TrainingImages:

    return TrainingImages(find_images(samples)[:6], crop_settings(CONFIG, 0))
