"""Merger and detokenizer learn, resume exactly, and give a checkpoint that decodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch
from tiny_namer import tiny_namer

from v2l.checkpoint import load_tensors
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.processes import start_processes
from v2l.sources import ImageFile, find_images
from v2l.tokenizers.clusters.model import ClusterTokenizer
from v2l.tokenizers.clusters.settings import (
    ClusterConfig,
    ClusterSettings,
    ClusterTraining,
    NetworkSettings,
)
from v2l.training.loop import TrainingLoop
from v2l.training.recipes.cluster_data import CONCEPTS, K_MEANS, PEAKS, cluster_images, cluster_maps
from v2l.training.recipes.clusters import ClusterRecipe
from v2l.training.recipes.clusters_run import cluster_recipe
from v2l.training.recipes.patch_run import PatchModels, PatchRun, loop_settings
from v2l.training.state import check_metadata

CONFIG = ClusterConfig(
    ClusterSettings(side=64, neighbours=4, threshold=0.2, if_none=1, most=8, position_weight=0.0),
    NetworkSettings(
        width=16,
        heads=2,
        mlp_ratio=2,
        token_width=12,
        mapper_layers=2,
        decoder_blocks=1,
        cells=4,
        image_size=16,
    ),
    ClusterTraining(
        steps=30,
        batch_size=4,
        learning_rate=1e-2,
        perceptual="none",
        adversarial_weight=0.0,
        plain_share=0.5,
        ema_decay=0.9,
        save_every=15,
        log_every=10,
        validate_every=0,
    ),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("V2L_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def files(samples: Path) -> list[ImageFile]:
    return find_images(samples)


def recipe_of(files: list[ImageFile], run: Path, config: ClusterConfig = CONFIG) -> ClusterRecipe:
    models = PatchModels(tiny_namer(), start_processes("cpu"))
    return cluster_recipe(config, PatchRun(files, run), models)


def adversarial(**changes: float) -> ClusterConfig:
    """The same with a discriminator, on images that are large enough for it."""
    training = replace(CONFIG.training, adversarial_weight=0.1, adversarial_start=0.5, **changes)
    return replace(CONFIG, training=training, network=replace(CONFIG.network, image_size=32))


def test_images_come_nearer_and_the_checkpoint_decodes(files: list[ImageFile], tmp_path: Path) -> None:
    recipe = recipe_of(files, tmp_path / "run")
    seen: list[dict[str, float]] = []
    loop = TrainingLoop(recipe, loop_settings(CONFIG.training, tmp_path / "run"))
    assert loop.train(loop.resume(), lambda step, terms: seen.append(terms)) == 30
    for term in ("l1", "concepts"):
        assert fmean(terms[term] for terms in seen[-10:]) < 0.8 * seen[0][term]
    assert {"merged_l1", "means_l1"} <= recipe.validate(30).keys()
    tokenizer = ClusterTokenizer.from_pretrained(tmp_path / "run" / "model", "cpu")
    tokenizer.namer.use_joint_encoder(recipe.tokenizer.joint_encoder)
    image = load_image(files[0])
    tokens = tokenizer.encode(image[None])
    assert tokens.embeddings is not None
    assert tokens.embeddings.shape == (1, len(tokens.words[0]), 12)
    decoded = tokenizer.decode(tokens)
    assert decoded.shape == (1, 3, 16, 16)
    assert 0 <= decoded.min() <= decoded.max() <= 1
    size = (image.shape[1], image.shape[2])
    assert tokenizer.decode_whole(tokenizer.encode_whole(image), size).shape == image.shape
    assert recipe.page(30).shape[0] == 3


@pytest.mark.parametrize("config", [CONFIG, adversarial(steps=12)], ids=["plain", "adversarial"])
def test_a_stopped_run_goes_on_exactly(config: ClusterConfig, files: list[ImageFile], tmp_path: Path) -> None:
    last = config.training.steps
    for run, stops in ((tmp_path / "whole", (last,)), (tmp_path / "parts", (last // 2 + 1, last))):
        for stop in stops:
            recipe = recipe_of(files, run, config)
            loop = TrainingLoop(recipe, loop_settings(config.training, run))
            first = loop.resume()
            for done, parts in enumerate(recipe.batches(first, stop), start=first + 1):
                terms = loop.step(done - 1, parts)
            loop.save(stop)
    assert ("discriminator" in terms) == (config is not CONFIG)
    whole, parts = (
        load_tensors(tmp_path / run / "model" / "model.safetensors") for run in ("whole", "parts")
    )
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())


def test_a_run_with_another_codebook_of_equal_size_is_refused(files: list[ImageFile], tmp_path: Path) -> None:
    recipe = recipe_of(files, tmp_path / "run")
    loop = TrainingLoop(recipe, loop_settings(CONFIG.training, tmp_path / "run"))
    loop.save(1)
    older = {name: value for name, value in recipe.metadata().items() if name != "codebook"}
    namer = recipe.tokenizer.namer
    namer.codebook = replace(namer.codebook, embeddings=namer.codebook.embeddings.flip(0))
    with pytest.raises(V2LError, match="codebook = "):
        loop.resume()
    check_metadata(tmp_path, recipe.metadata_defaults() | older, recipe.metadata())


def test_concepts_are_found_again_for_other_embeddings(files: list[ImageFile], tmp_path: Path) -> None:
    namer = tiny_namer()
    before = cluster_images(namer, files, CONFIG, torch.device("cpu")).patches[:, CONCEPTS]
    namer.codebook = replace(namer.codebook, embeddings=namer.codebook.embeddings.flip(0))
    after = cluster_images(namer, files, CONFIG, torch.device("cpu")).patches[:, CONCEPTS]
    assert torch.equal(after, len(namer.codebook) - 1 - before)


def test_a_map_has_more_than_256_clusters() -> None:
    settings = replace(CONFIG.clusters, threshold=0.0, most=300)
    features = torch.rand(1, 20, 20, 8, generator=torch.Generator().manual_seed(0))
    assert cluster_maps(features, settings).amax(dim=(0, 2, 3)).tolist() == [299, 299]


def test_a_phase_begins_where_a_term_does(files: list[ImageFile], tmp_path: Path) -> None:
    config = adversarial(steps=20, perceptual_start=0.25)
    phases = recipe_of(files, tmp_path / "run", config).phases(20)
    assert [(phase.first, phase.end) for phase in phases] == [(0, 5), (5, 10), (10, 20)]
    assert phases[-1].name == "pixels, concepts, perceptual distance, adversarial term"


def test_both_divisions_have_equally_many_clusters_and_each_cluster_one_concept(
    files: list[ImageFile], tmp_path: Path
) -> None:
    images = recipe_of(files, tmp_path / "run").images
    for patches in images.patches:
        count = int(patches[PEAKS].max()) + 1
        assert patches[K_MEANS].max() < count
        for cluster in range(count):
            assert patches[CONCEPTS][patches[PEAKS] == cluster].unique().numel() == 1


def test_a_mirrored_batch_has_the_same_clusters_mirrored(files: list[ImageFile], tmp_path: Path) -> None:
    images = recipe_of(files, tmp_path / "run").images
    places = torch.arange(3)
    one, other = images.batch(places, 0.4), images.batch(places, 0.4, flipped=True)
    assert one.merged == other.merged == 2
    assert torch.equal(one.divided.images.flip(3), other.divided.images)
    assert torch.equal(one.divided.cells.flip(2), other.divided.cells)
    grid = one.divided.features.shape[1:3]
    assert torch.equal(one.divided.members.unflatten(1, grid).flip(2).flatten(1), other.divided.members)
    assert torch.equal(one.divided.features.flip(2), other.divided.features)


def test_the_papers_preset_makes_a_step_with_a_small_width(files: list[ImageFile], tmp_path: Path) -> None:
    paper = ClusterConfig.load("paper")
    network = replace(
        paper.network, width=16, heads=2, token_width=16, decoder_blocks=1, cells=4, image_size=32
    )
    training = replace(paper.training, steps=1, batch_size=2, perceptual="none", adversarial_start=0)
    config = ClusterConfig(replace(paper.clusters, side=32, if_none=4), network, training)
    recipe = recipe_of(files, tmp_path / "run", config)
    loop = TrainingLoop(recipe, loop_settings(training, tmp_path / "run"))
    terms = loop.step(0, next(recipe.batches(0, 1)))
    assert terms["skipped"] == 0
    assert {"adversarial", "discriminator"} <= terms.keys()
