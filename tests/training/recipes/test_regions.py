"""The region encoder starts as no encoder at all, learns the crops' vectors, and resumes exactly."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_namer import tiny_namer

from v2l.checkpoint import load_tensors
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.processes import start_processes
from v2l.sources import ImageFile, find_images
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokenizers.part_views import encode_boxes
from v2l.tokenizers.regions.model import RegionTokenizer
from v2l.tokenizers.regions.settings import RegionConfig, RegionEncoderSettings, RegionTraining
from v2l.training.loop import TrainingLoop
from v2l.training.recipes.patch_run import PatchModels, PatchRun, loop_settings
from v2l.training.recipes.region_data import draw_boxed
from v2l.training.recipes.regions import RegionRecipe
from v2l.training.recipes.regions_run import region_recipe

CONFIG = RegionConfig(
    RegionEncoderSettings(levels=1, pooled=2, width=16, hidden=16),
    RegionTraining(
        canvases=16,
        boxes=4,
        steps=30,
        batch_size=8,
        learning_rate=1e-2,
        save_every=15,
        log_every=10,
        validate_every=0,
    ),
)


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("V2L_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def files(samples: Path) -> list[ImageFile]:
    return find_images(samples)


def recipe_of(files: list[ImageFile], run: Path, config: RegionConfig = CONFIG) -> RegionRecipe:
    models = PatchModels(tiny_namer(), start_processes("cpu"))
    return region_recipe(config, PatchRun(files, run), models)


def test_equal_seeds_draw_equal_canvases_and_fewer_are_the_first_of_more(files: list[ImageFile]) -> None:
    drawn = draw_boxed(files, 8, 3, seed=1)
    assert drawn[:4] == draw_boxed(files, 4, 3, seed=1)
    assert drawn != draw_boxed(files, 8, 3, seed=2)
    assert [len(each.files) for each in drawn] == [1, 4, 1, 9, 1, 2, 1, 6]
    sides = [side for each in drawn for box in each.boxes for side in (box[2] - box[0], box[3] - box[1])]
    assert 0.19 < min(sides) < max(sides) <= 1
    assert all(
        0 <= low < high <= 1 for each in drawn for box in each.boxes for low, high in (box[::2], box[1::2])
    )


def test_before_the_first_step_a_region_is_the_mean_of_its_features(
    files: list[ImageFile], tmp_path: Path
) -> None:
    config = replace(CONFIG, network=replace(CONFIG.network, pooled=4))  # as without training
    trained = recipe_of(files, tmp_path / "run", config).tokenizer
    plain = RegionTokenizer(namer=trained.namer)
    image, boxes = torch.rand(3, 64, 96), torch.tensor([[0, 0, 0.5, 1], [0.25, 0.25, 1, 0.75]])
    torch.testing.assert_close(trained.eval().vectors(image, boxes), plain.vectors(image, boxes))


def test_the_target_of_a_box_is_the_vector_of_its_crop(files: list[ImageFile], tmp_path: Path) -> None:
    recipe = recipe_of(files, tmp_path / "run")
    (drawn,) = draw_boxed(files, 1, CONFIG.training.boxes, seed=0)
    crops = encode_boxes(recipe.tokenizer.joint_encoder, load_image(drawn.files[0]), drawn.boxes)
    targets = recipe.examples.targets(recipe.examples.rows[0])
    torch.testing.assert_close(targets, crops, atol=2e-3, rtol=0)


def test_vectors_come_nearer_to_those_of_crops_and_a_run_goes_on_exactly(
    files: list[ImageFile], tmp_path: Path
) -> None:
    for run, stops in ((tmp_path / "whole", (30,)), (tmp_path / "parts", (15, 30))):
        for stop in stops:
            recipe = recipe_of(files, run)
            loop = TrainingLoop(recipe, loop_settings(recipe.config.training, run))
            first = loop.resume()
            for done, parts in enumerate(recipe.batches(first, stop), start=first + 1):
                loop.step(done - 1, parts)
            loop.save(stop)
    figures = recipe.validate(30)
    assert figures["cosine"] > figures["untrained_cosine"]
    whole, parts = (
        load_tensors(tmp_path / run / "model" / "model.safetensors") for run in ("whole", "parts")
    )
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
    again = load_tokenizer(tmp_path / "whole" / "model", device="cpu")
    assert isinstance(again, RegionTokenizer)
    assert again.describe()["region_encoder"] == "trained"
    assert again.trained == recipe.tokenizer.trained


def test_a_users_boxes_cost_one_pass_over_the_image(
    files: list[ImageFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = recipe_of(files, tmp_path / "run").tokenizer.eval()
    monkeypatch.setattr(type(tokenizer.joint_encoder), "encode_images", None)  # no crop is encoded
    tokenizer.use_boxes([(0, 0, 20, 20), (10, 10, 60, 60)])
    assert len(tokenizer.encode(torch.rand(1, 3, 64, 96)).strings()) == 2


def test_the_papers_preset_makes_a_step_with_a_small_width(files: list[ImageFile], tmp_path: Path) -> None:
    paper = RegionConfig.load("paper")
    network = replace(paper.network, levels=1, width=16, hidden=16)
    config = RegionConfig(network, replace(paper.training, steps=1, batch_size=2, canvases=8, boxes=2))
    recipe = recipe_of(files, tmp_path / "run", config)
    loop = TrainingLoop(recipe, loop_settings(recipe.config.training, tmp_path / "run"))
    assert loop.step(0, next(recipe.batches(0, 1)))["skipped"] == 0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (replace(CONFIG, network=replace(CONFIG.network, levels=3)), "network.levels = 3; allowed: 1 to 1"),
        (replace(CONFIG, training=replace(CONFIG.training, canvases=7)), "canvases = 7; allowed: 8 and more"),
    ],
)
def test_what_the_encoder_or_the_data_cannot_give_is_one_line(
    config: RegionConfig, message: str, files: list[ImageFile], tmp_path: Path
) -> None:
    with pytest.raises(V2LError, match=message) as caught:
        recipe_of(files, tmp_path / "run", config)
    assert "\n" not in str(caught.value)


def test_unreadable_photographs_are_left_out_or_refused(files: list[ImageFile], tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(V2LError, match="none of 16 canvases"):
        recipe_of([bad], tmp_path / "run")
    recipe = recipe_of([*files[:9], bad], tmp_path / "run")
    assert 0 < len(recipe.examples.rows) < 16
