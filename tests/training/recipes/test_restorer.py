"""A restorer learns through the frozen LLM, resumes exactly, and never reads a masked cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from tiny_pipeline import tiny_pipeline

from v2l.corruptions import Rotation, Shift
from v2l.errors import V2LError
from v2l.pipeline.pipeline import Pipeline
from v2l.sources import ImageFile, find_images
from v2l.tasks.restoration.restorer import (
    BODIES,
    MARGIN,
    RIDGE,
    Restorer,
    RestorerSettings,
    to_cells,
    to_fields,
    width_of_control,
)
from v2l.training.data import epoch_order
from v2l.training.recipes.restorer import RestorerRun, RestorerTraining, new_restorer
from v2l.training.recipes.restorer_data import RestorationBatches, RestorationFeatures, moved_back


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return tiny_pipeline()


@pytest.fixture(scope="module")
def files(samples: Path) -> list[ImageFile]:
    return find_images(samples)[:6]


@pytest.fixture(autouse=True)
def _own_cache(own_cache: None) -> None:
    """Features stay out of the user's cache."""


def run(folder: Path, body: str = "llm", steps: int = 4) -> RestorerRun:
    return RestorerRun(folder, body, 2, 1e-2, steps, 1, batch_size=4, save_every=2, log_every=1)


def train(pipeline: Pipeline, files: list[ImageFile], settings: RestorerRun) -> list[float]:
    losses: list[float] = []
    RestorerTraining(pipeline, files, settings).train(lambda step, terms: losses.append(terms["loss"]))
    return losses


@pytest.mark.parametrize("body", ["llm", "transformer"])
def test_it_learns_and_the_llm_keeps_its_weights(
    pipeline: Pipeline, files: list[ImageFile], tmp_path: Path, body: str
) -> None:
    before = {name: weight.clone() for name, weight in pipeline.llm.model.state_dict().items()}
    losses = train(pipeline, files[:2], run(tmp_path, body, 30))
    assert sum(losses[-5:]) < sum(losses[:5])
    after = pipeline.llm.model.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_a_stopped_run_goes_on_exactly(pipeline: Pipeline, files: list[ImageFile], tmp_path: Path) -> None:
    class StoppedError(Exception):
        """The machine goes down."""

    def stop(step: int, terms: dict[str, float]) -> None:
        if step == 3:
            raise StoppedError

    whole, parts = run(tmp_path / "whole"), run(tmp_path / "parts")
    train(pipeline, files, whole)
    with pytest.raises(StoppedError):
        RestorerTraining(pipeline, files, parts).train(stop)
    assert len(train(pipeline, files, parts)) == 2  # from step 2, the last saved state
    weights = [
        (folder / "restorer" / "restorer.safetensors").read_bytes() for folder in (parts.run, whole.run)
    ]
    assert weights[0] == weights[1]
    with pytest.raises(V2LError, match="ANOTHER_FOLDER"):
        train(pipeline, files, replace(whole, rate=1e-3))


@pytest.mark.parametrize("body", BODIES)
def test_features_of_masked_cells_change_nothing(pipeline: Pipeline, body: str) -> None:
    restorer = new_restorer(pipeline, body)
    torch.nn.init.normal_(restorer.maps)
    seen, masked, task = torch.randn(1, 5, 6, 6), torch.zeros(1, 5, 6, dtype=torch.bool), torch.tensor([0])
    masked[:, 1:3, 2:5] = True
    noise = torch.where(masked[..., None], torch.randn_like(seen), seen)
    restored = restorer(seen, masked, task)
    assert restored.shape == seen.shape
    assert torch.equal(restorer(noise, masked, task), restored)


def test_every_prediction_sees_the_last_field(pipeline: Pipeline) -> None:
    restorer = new_restorer(pipeline, "llm")
    torch.nn.init.normal_(restorer.last.weight)
    seen, masked, task = torch.randn(1, 8, 8, 6), torch.zeros(1, 8, 8, dtype=torch.bool), torch.tensor([1])
    other = seen.clone()
    other[:, 7, 7] += 1
    changed = (restorer(seen, masked, task) - restorer(other, masked, task)).abs().amax(dim=-1)
    assert (changed > 0).all()


def test_cells_of_fields_are_the_cells() -> None:
    cells = torch.randn(2, 5, 7, 3)
    assert torch.equal(to_cells(to_fields(cells, 2), (5, 7), 2), cells)
    around = to_fields(cells, 2, MARGIN)[0, 1, 1].view(3, 4, 4)  # channels first, as unfold gives them
    assert torch.equal(around, cells[0, 1:5, 1:5].movedim(-1, 0))


def test_the_linear_map_is_a_ridge_regression_of_fields(
    pipeline: Pipeline, files: list[ImageFile], tmp_path: Path
) -> None:
    recipe = RestorerTraining(pipeline, files, run(tmp_path, "linear")).recipe()
    recipe.fit(0)
    restorer, places = recipe.restorer, list(recipe.trained_on.places)
    part = recipe.trained_on.data.batch(places, [1] * len(places))
    inputs = restorer.fields(part.seen, part.masked).flatten(0, 2).double()
    inputs = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1)
    targets = to_fields((part.clean - restorer.mean) / restorer.std, 2).flatten(0, 2).double()
    square = inputs.T @ inputs
    square += RIDGE * square.diagonal().mean() * torch.eye(len(square))
    assert torch.allclose(restorer.maps[1].double(), torch.linalg.inv(square) @ inputs.T @ targets, atol=1e-4)


def test_an_epoch_is_shuffled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = RestorationBatches(RestorationFeatures(torch.empty(0), ()), (3, 5, 7, 8, 9), seed=2)
    expected = [
        place for epoch in (0, 1) for place in Random(2 * 1_000_003 + epoch).sample((3, 5, 7, 8, 9), 5)
    ]
    epoch_order.cache_clear()
    assert [batches.example(number)[0] for number in range(10)] == expected
    assert epoch_order.cache_info().misses == 2


def test_shifted_and_turned_cells_come_back() -> None:
    cells = torch.arange(16.0).view(4, 4, 1)
    for corruption in (Shift(0.25, -0.5), Rotation(1), Rotation(3)):
        assert torch.equal(moved_back(corruption.apply(cells[..., 0])[..., None], corruption), cells)


def test_another_llm_and_an_unknown_body_are_refused(
    pipeline: Pipeline, files: list[ImageFile], tmp_path: Path
) -> None:
    train(pipeline, files, run(tmp_path, steps=2))
    restorer = Restorer.load(tmp_path / "restorer")
    with pytest.raises(V2LError, match=r"use_llm"):
        restorer(torch.randn(1, 8, 8, 6), torch.zeros(1, 8, 8, dtype=torch.bool), torch.tensor([0]))
    restorer.settings = replace(restorer.settings, llm_weights="another")
    with pytest.raises(V2LError, match="which the restorer belongs to"):
        restorer.use_llm(pipeline.llm)
    with pytest.raises(V2LError, match="--body llm"):
        new_restorer(pipeline, "perceiver")


def test_the_control_has_about_as_many_trained_weights() -> None:
    settings = RestorerSettings("llm", 2, 12, 576, 1.0, "codes", "llm", "weights")
    small = replace(settings, body="transformer", width=width_of_control(settings))
    assert Restorer(small).trained == pytest.approx(Restorer(settings).trained, rel=0.1)
