"""SAM's adapter learns from sets, resumes exactly, and answers about images in common, difference and story."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from tiny_pipeline import tiny_pipeline

from v2l.datasets import ClassFolder
from v2l.errors import V2LError
from v2l.evaluation.set_answers import ALONE, EMBEDDING, GUIDED, AnswerSettings, Methods, evaluate_sets
from v2l.image_sets import ImageSet, SetSettings, make_sets, read_sets
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.sets import set_sentence
from v2l.tasks.comparison.guided import describe_set, reads_sets
from v2l.tokenizers.adapters.guidance import Guidance
from v2l.tokenizers.loading import load_tokenizer
from v2l.training.data import epoch_order
from v2l.training.recipes.adapter import AdapterRun
from v2l.training.recipes.adapter_models import AdapterModels
from v2l.training.recipes.sets import SetTraining
from v2l.training.state import check_metadata


@pytest.fixture(scope="module")
def models() -> AdapterModels:
    pipeline = tiny_pipeline()
    return AdapterModels(pipeline.tokenizer.joint_encoder, pipeline.llm, pipeline.tokenizer.global_codebook)


@pytest.fixture(scope="module")
def sets(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> list[ImageSet]:
    folder = tmp_path_factory.mktemp("sets") / "made"
    make_sets(ClassFolder.load(samples), folder, SetSettings(2, 2, 1, 2, 2, 2))
    return read_sets(folder)


@pytest.fixture(autouse=True)
def _own_cache(own_cache: None) -> None:
    """Patch features stay out of the user's cache."""


def run(folder: Path, steps: int = 4, **changes: object) -> AdapterRun:
    settings = AdapterRun(folder, 1e-2, steps, 1, batch_size=2, save_every=2, log_every=1, watch_every=100)
    return replace(settings, **changes)


def train(models: AdapterModels, sets: list[ImageSet], settings: AdapterRun) -> list[float]:
    losses: list[float] = []
    SetTraining(4, sets, settings).train(models, lambda step, terms: losses.append(terms["loss"]))
    return losses


@pytest.mark.parametrize("align", [0.0, 0.5])
def test_it_learns_and_the_llm_keeps_its_weights(
    models: AdapterModels, sets: list[ImageSet], tmp_path: Path, align: float
) -> None:
    before = {name: weight.clone() for name, weight in models.llm.model.state_dict().items()}
    losses = train(models, sets[:2], run(tmp_path, 20, align=align))
    assert sum(losses[-5:]) < sum(losses[:5])
    after = models.llm.model.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_a_stopped_run_goes_on_exactly(models: AdapterModels, sets: list[ImageSet], tmp_path: Path) -> None:
    class StoppedError(Exception):
        """The machine goes down."""

    def stop(step: int, terms: dict[str, float]) -> None:
        if step == 3:
            raise StoppedError

    whole, parts = run(tmp_path / "whole"), run(tmp_path / "parts")
    train(models, sets, whole)
    with pytest.raises(StoppedError):
        SetTraining(4, sets, parts).train(models, stop)
    assert len(train(models, sets, parts)) == 2  # from step 2, the last saved state
    first, second = (tmp_path / name / "model" / "model.safetensors" for name in ("whole", "parts"))
    assert first.read_bytes() == second.read_bytes()
    with pytest.raises(V2LError, match="ANOTHER_FOLDER"):
        SetTraining(4, sets, whole, Guidance(rounds=2)).train(models, stop)


def test_a_run_with_another_codebook_is_refused_and_an_older_state_is_not(
    models: AdapterModels, sets: list[ImageSet], tmp_path: Path
) -> None:
    book = models.codebook
    other = replace(
        models, codebook=replace(book, entries=(replace(book.entries[0], count=9), *book.entries[1:]))
    )
    before = SetTraining(4, sets, run(tmp_path)).recipe(models).metadata()
    now = SetTraining(4, sets, run(tmp_path)).recipe(other)
    with pytest.raises(V2LError, match="made with codebook = "):
        check_metadata(tmp_path, now.metadata_defaults() | before, now.metadata())
    del before["codebook"]
    check_metadata(tmp_path, now.metadata_defaults() | before, now.metadata())
    del before["prompts"]
    with pytest.raises(V2LError, match="made with prompts = without examples"):
        check_metadata(tmp_path, now.metadata_defaults() | before, now.metadata())


def test_the_fitted_maps_learn_at_the_full_rate_and_the_network_at_a_tenth(
    models: AdapterModels, sets: list[ImageSet], tmp_path: Path
) -> None:
    recipe = SetTraining(4, sets, run(tmp_path)).recipe(models)
    fitted, former = recipe.networks["adapter"].optimizer.param_groups
    assert {id(one) for one in former["params"]} == {
        id(one) for one in recipe.tokenizer.network.former.parameters()
    }
    both = [id(one) for one in (*fitted["params"], *former["params"])]
    assert sorted(both) == sorted(id(one) for one in recipe.tokenizer.parameters())
    for parameter in recipe.tokenizer.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert recipe.networks["adapter"].step(0.5)
    assert (fitted["lr"], former["lr"]) == pytest.approx((0.5, 0.05))


def test_the_llm_answers_about_a_set(models: AdapterModels, sets: list[ImageSet], tmp_path: Path) -> None:
    train(models, sets, run(tmp_path, 2))
    tokenizer = load_tokenizer(tmp_path / "model", device="cpu")
    tokenizer.use_joint_encoder(models.encoder)
    pipeline = Pipeline(tokenizer, models.llm, str(tmp_path))
    assert reads_sets(pipeline)
    for one in sets[::2]:
        assert isinstance(describe_set(pipeline, one.images, one.task), str)
    with pytest.raises(V2LError, match="2 images and more"):
        describe_set(pipeline, sets[0].images[:1], "common")
    with pytest.raises(V2LError, match=r"at most \d+, by the context of 512 tokens"):
        describe_set(pipeline, sets[0].images * 100, "common")
    other = tiny_pipeline()
    other.llm.fingerprint = "another"
    with pytest.raises(V2LError, match="as the tokenizer needs"):
        describe_set(Pipeline(tokenizer, other.llm), sets[0].images, "common")
    with pytest.raises(V2LError, match="--tokenizer sam"):
        describe_set(other, sets[0].images, "common")


def test_training_starts_from_the_fits(models: AdapterModels, sets: list[ImageSet], tmp_path: Path) -> None:
    tokenizer = SetTraining(4, sets, run(tmp_path)).recipe(models).tokenizer
    features = torch.rand(3, 3, 3, tokenizer.adapter.channels)
    fields = tokenizer.fields(features)
    fitted = tokenizer.network.fitted(fields, tokenizer.joint(fields)) * tokenizer.adapter.scale
    assert torch.equal(tokenizer(features, together=True), fitted)
    assert tokenizer.network.from_features.weight.abs().max() > 0


def test_answers_about_sets_are_measured(models: AdapterModels, sets: list[ImageSet], tmp_path: Path) -> None:
    train(models, sets, run(tmp_path, 4))
    tokenizer = load_tokenizer(tmp_path / "model", device="cpu")
    tokenizer.use_joint_encoder(models.encoder)
    words = tiny_pipeline()
    methods, log = Methods(Pipeline(tokenizer, models.llm), words), tmp_path / "log.jsonl"
    results = evaluate_sets(methods, sets, AnswerSettings(2), log)
    assert [result.task for result in results] == ["common", "difference", "story"]
    for result in results:
        assert list(result.right) == [GUIDED, ALONE, EMBEDDING]
        assert all(len(found) == 2 for kinds in result.right.values() for found in kinds.values())
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:4]))
    assert evaluate_sets(methods, sets, AnswerSettings(2), log) == results
    with torch.no_grad():
        next(tokenizer.parameters()).add_(1)
    with pytest.raises(V2LError, match="tokenizer_weights"):
        evaluate_sets(methods, sets, AnswerSettings(2), log)
    with pytest.raises(V2LError, match="--names"):
        evaluate_sets(methods, sets, AnswerSettings(99))
    with pytest.raises(V2LError, match="--tokenizer sam"):
        evaluate_sets(Methods(words, words), sets, AnswerSettings(2))


def test_sentences_say_what_a_set_shows() -> None:
    assert set_sentence("common", ["ant"]) == "an ant."
    assert set_sentence("difference", ["ant"], "removed") == "an ant was removed."
    assert set_sentence("story", ["ant", "cup", "watch"]) == "First an ant, then a cup, then a watch."


def test_an_epoch_is_shuffled_once(models: AdapterModels, sets: list[ImageSet], tmp_path: Path) -> None:
    recipe = SetTraining(4, sets, run(tmp_path)).recipe(models)
    epoch_order.cache_clear()
    count = len(recipe.trained_on)
    seen = [one.images for ((*part,),) in recipe.batches(0, count) for one in part]
    orders = [Random(epoch).sample(recipe.trained_on, count) for epoch in (0, 1)]
    assert seen == [recipe.data.sets[place] for order in orders for place in order]
    assert epoch_order.cache_info().misses == 2


def test_no_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(V2LError, match="v2l make-sets"):
        SetTraining(4, [], run(tmp_path))
