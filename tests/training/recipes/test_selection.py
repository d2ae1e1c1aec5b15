"""The selection learns to rebuild features, resumes exactly, and its paper preset is a valid network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_namer import tiny_namer
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from v2l.checkpoint import load_tensors
from v2l.processes import start_processes
from v2l.sources import ImageFile, find_images
from v2l.tokenizers.selection.model import SelectionTokenizer
from v2l.tokenizers.selection.settings import SelectionConfig, SelectionSettings, SelectionTraining
from v2l.training.loop import TrainingLoop
from v2l.training.recipes.patch_run import PatchModels, PatchRun, loop_settings
from v2l.training.recipes.selection import SelectionRecipe
from v2l.training.recipes.selection_run import selection_recipe

CONFIG = SelectionConfig(
    SelectionSettings(
        side=32, width=16, merger_blocks=1, decoder_blocks=1, heads=2, mlp_ratio=2, words_used=20
    ),
    SelectionTraining(
        steps=30,
        batch_size=4,
        learning_rate=1e-2,
        varied_ratio=0.5,
        ema_decay=0.9,
        save_every=15,
        log_every=10,
    ),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("V2L_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def files(samples: Path) -> list[ImageFile]:
    return find_images(samples)


def recipe_of(files: list[ImageFile], run: Path, config: SelectionConfig = CONFIG) -> SelectionRecipe:
    models = PatchModels(tiny_namer(), start_processes("cpu"))
    return selection_recipe(config, PatchRun(files, run), models)


@pytest.mark.parametrize("codebook", ["words", "learned"])
def test_rebuilt_features_come_nearer_to_the_frozen_ones(
    codebook: str, files: list[ImageFile], tmp_path: Path
) -> None:
    config = replace(
        CONFIG, network=replace(CONFIG.network, codebook=codebook, learned_size=16, learned_width=4)
    )
    recipe = recipe_of(files, tmp_path / "run", config)
    before = recipe.validate(0)
    loop = TrainingLoop(recipe, loop_settings(recipe.config.training, tmp_path / "run"))
    seen = []
    assert loop.train(loop.resume(), lambda step, terms: seen.append(terms)) == 30
    after = recipe.validate(30)
    assert after["cosine"] > before["cosine"] + 0.05
    assert {"rebuilt", "ratio", "codes", "kept"} <= seen[-1].keys()
    assert (tmp_path / "run" / "model" / "manifest.json").is_file()


def test_with_a_draft_training_starts_above_the_mean(files: list[ImageFile], tmp_path: Path) -> None:
    config = replace(CONFIG, network=replace(CONFIG.network, draft=True, chooses="draft"))
    recipe = recipe_of(files, tmp_path / "run", config)
    draft = recipe.tokenizer.network.draft
    assert draft is not None
    features = recipe.held_out[:].float().flatten(1, 2)
    constant = torch.cosine_similarity(draft.mean, features, dim=-1).mean().item()
    assert recipe.validate(0)["cosine"] > constant
    loop = TrainingLoop(recipe, loop_settings(recipe.config.training, tmp_path / "run"))
    loop.train(loop.resume(), lambda step, terms: None)
    tokenizer = SelectionTokenizer.from_pretrained(tmp_path / "run" / "model", "cpu")
    assert tokenizer.network.draft is not None
    torch.testing.assert_close(tokenizer.network.draft.prototypes, draft.prototypes, atol=1e-3, rtol=1e-2)


def test_a_stopped_run_goes_on_exactly(files: list[ImageFile], tmp_path: Path) -> None:
    for run, stops in ((tmp_path / "whole", (30,)), (tmp_path / "parts", (15, 30))):
        for stop in stops:
            recipe = recipe_of(files, run)
            settings = replace(loop_settings(recipe.config.training, run), steps=30)
            loop = TrainingLoop(recipe, settings)
            first = loop.resume()
            for done, parts in enumerate(recipe.batches(first, stop), start=first + 1):
                loop.step(done - 1, parts)
            loop.save(stop)
    whole, parts = (
        load_tensors(tmp_path / run / "model" / "model.safetensors") for run in ("whole", "parts")
    )
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


@pytest.mark.parametrize("codebook", ["words", "learned"])
def test_processes_exchange_all_gradients(codebook: str, files: list[ImageFile], tmp_path: Path) -> None:
    config = replace(
        CONFIG, network=replace(CONFIG.network, codebook=codebook, learned_size=16, learned_width=4)
    )
    recipe = recipe_of(files, tmp_path / "run", config)
    network, exchanged = recipe.networks["model"], []

    def exchange(bucket: distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
        exchanged.append(bucket.buffer().numel())
        done: torch.futures.Future[torch.Tensor] = torch.futures.Future()
        done.set_result(bucket.buffer())
        return done

    distributed.init_process_group("gloo", f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        network.prepared = DistributedDataParallel(network.network, find_unused_parameters=True)
        network.prepared.register_comm_hook(None, lambda _, bucket: exchange(bucket))
        (part,) = next(recipe.batches(0, 1))
        recipe.loss(29, part, "model").value.backward()
    finally:
        distributed.destroy_process_group()
    assert sum(exchanged) == sum(weight.numel() for weight in network.network.parameters())


def test_the_same_images_are_encoded_once(files: list[ImageFile], tmp_path: Path) -> None:
    recipe_of(files, tmp_path / "run")
    shards = sorted((tmp_path / "cache" / "patches").iterdir())
    stamps = [shard.stat().st_mtime_ns for shard in shards]
    recipe_of(files, tmp_path / "run")
    assert [shard.stat().st_mtime_ns for shard in shards] == stamps


def test_the_papers_preset_makes_a_step_with_a_small_width(files: list[ImageFile], tmp_path: Path) -> None:
    paper = SelectionConfig.load("paper")
    network = replace(paper.network, side=32, width=32, learned_size=64, words_used=20)
    config = SelectionConfig(network, replace(paper.training, steps=1, batch_size=2))
    recipe = recipe_of(files, tmp_path / "run", config)
    loop = TrainingLoop(recipe, loop_settings(recipe.config.training, tmp_path / "run"))
    terms = loop.step(0, next(recipe.batches(0, 1)))
    assert terms["skipped"] == 0
