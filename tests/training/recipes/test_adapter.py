"""An adapter learns through the frozen LLM, resumes exactly, and is a tokenizer of embeddings afterwards."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_pipeline import tiny_pipeline

from v2l.captions import CaptionedImage
from v2l.datasets import ClassFolder, Episode, LabelledImage
from v2l.errors import V2LError
from v2l.evaluation.class_naming import (
    CLASS_TEXT,
    PROTOTYPE,
    SOFT,
    WORDS_CHOICE,
    WORDS_SENTENCE,
    ChoiceTask,
    evaluate_choice,
    share_readable,
)
from v2l.evaluation.fewshot import Cell, FewShotEvaluation, Grid, page
from v2l.images import Skipped, load_image
from v2l.pipeline.image_words import WordSelection, read_image_words
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.classification.fewshot import FewShotSettings, Method, evaluate_fewshot
from v2l.tasks.description.describe import Describer, DescribeSettings
from v2l.tokenizers.loading import load_tokenizer
from v2l.training.recipes import adapter_fits, adapter_words
from v2l.training.recipes.adapter import AdapterRun, stacked
from v2l.training.recipes.adapter_data import CaptionedFeatures
from v2l.training.recipes.adapter_models import AdapterModels
from v2l.training.recipes.adapter_run import AdapterTraining
from v2l.training.recipes.adapter_words import word_embeddings
from v2l.training.state import check_metadata


@pytest.fixture(scope="module")
def models() -> AdapterModels:
    pipeline = tiny_pipeline()
    return AdapterModels(pipeline.tokenizer.joint_encoder, pipeline.llm, pipeline.tokenizer.global_codebook)


@pytest.fixture(scope="module")
def images(samples: Path) -> list[CaptionedImage]:
    classes = ClassFolder.load(samples).classes
    return [CaptionedImage(files[0], label=name) for name, files in classes.items()]


@pytest.fixture(autouse=True)
def _own_cache(own_cache: None) -> None:
    """Patch features stay out of the user's cache."""


def run(folder: Path, steps: int = 4, **changes: object) -> AdapterRun:
    settings = AdapterRun(folder, 1e-2, steps, 1, batch_size=2, save_every=2, log_every=1, watch_every=100)
    return replace(settings, **changes)


def train(
    models: AdapterModels, images: list[CaptionedImage], settings: AdapterRun, kind: str
) -> list[float]:
    losses: list[float] = []
    training = AdapterTraining(kind, 4, images, settings)
    training.train(models, lambda step, terms: losses.append(terms["loss"]))
    return losses


def load(models: AdapterModels, folder: Path) -> Pipeline:
    tokenizer = load_tokenizer(folder / "model", device="cpu")
    tokenizer.use_joint_encoder(models.encoder)
    return Pipeline(tokenizer, models.llm, str(folder))


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("kind", ["resampler", "uhd", "projector", "clusters", "sea"])
def test_it_learns_and_the_llm_keeps_its_weights(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path, kind: str
) -> None:
    before = {name: weight.clone() for name, weight in models.llm.model.state_dict().items()}
    align = 0.5 if kind == "sea" else 0.0
    losses = train(models, images[:1], run(tmp_path, 30, align=align, rate=3e-2), kind)
    assert sum(losses[-5:]) < sum(losses[:5])
    after = models.llm.model.state_dict()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    assert (tmp_path / "pictures").is_dir()


def test_a_stopped_run_goes_on_exactly(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path
) -> None:
    class StoppedError(Exception):
        """The machine goes down."""

    def stop(step: int, terms: dict[str, float]) -> None:
        if step == 3:
            raise StoppedError

    whole, parts = run(tmp_path / "whole"), run(tmp_path / "parts")
    train(models, images, whole, "resampler")
    with pytest.raises(StoppedError):
        AdapterTraining("resampler", 4, images, parts).train(models, stop)
    assert len(train(models, images, parts, "resampler")) == 2  # from step 2, the last saved state
    assert weights(tmp_path / "parts") == weights(tmp_path / "whole")
    with pytest.raises(V2LError, match="ANOTHER_FOLDER"):
        train(models, images, run(tmp_path / "whole", rate=1e-3), "resampler")


def test_a_run_with_another_codebook_is_refused_and_an_older_state_is_not(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path
) -> None:
    book = models.codebook
    other = replace(
        models, codebook=replace(book, entries=(replace(book.entries[0], count=9), *book.entries[1:]))
    )
    before = (
        AdapterTraining("resampler", 4, images, run(tmp_path))
        .recipe(models, lambda *_: None, None)
        .metadata()
    )
    now = AdapterTraining("resampler", 4, images, run(tmp_path)).recipe(other, lambda *_: None, None)
    with pytest.raises(V2LError, match="made with codebook = "):
        check_metadata(tmp_path, now.metadata_defaults() | before, now.metadata())
    del before["codebook"]
    check_metadata(tmp_path, now.metadata_defaults() | before, now.metadata())
    del before["start"]
    with pytest.raises(V2LError, match="made with start = random weights"):
        check_metadata(tmp_path, now.metadata_defaults() | before, now.metadata())


def test_the_adapter_is_read_by_captions_answers_and_labels(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path
) -> None:
    train(models, images, run(tmp_path, 2), "projector")
    pipeline = load(models, tmp_path)
    tokens = pipeline.tokenizer.encode(load_image(images[0].file)[None])
    assert tokens.embeddings is not None
    assert tokens.embeddings.shape == (1, 4, models.llm.embedding_width)
    assert len(tokens.words[0]) == 4
    for task, question in (("caption", ""), ("vqa", "What is it?")):
        describer = Describer(pipeline, task, DescribeSettings())
        assert describer.config.no_repeat == 3
        assert (
            "4 image embeddings"
            in describer.dialogue(describer.words_of([load_image(images[0].file)])[0].evidence, question).text
        )
        assert len(dict(describer.over([image.file for image in images[:2]], Skipped(), question))) == 2
    support = tuple(LabelledImage(image.file, image.label) for image in images[:2])
    episode = Episode(support, LabelledImage(images[2].file, images[1].label))
    (prediction,) = evaluate_fewshot(pipeline, [episode]).predictions
    assert prediction.label in {image.label for image in images[:2]}
    assert prediction.scores.keys() == {image.label for image in images[:2]}
    with pytest.raises(V2LError, match="--rule loglikelihood"):
        evaluate_fewshot(pipeline, [episode], FewShotSettings(method=Method(rule="channel")))


def test_the_few_shot_table_of_an_adapter_says_what_ran(
    models: AdapterModels, images: list[CaptionedImage], samples: Path, tmp_path: Path
) -> None:
    train(models, images, run(tmp_path, 2), "projector")
    pipeline, settings = load(models, tmp_path), FewShotSettings(episodes=2)
    folder, grid = ClassFolder.load(samples), Grid(n_ways=(2,), k_shots=(1,))
    table = FewShotEvaluation(pipeline, folder, settings, grid).run()
    assert [result.cell for result in table.cells] == [Cell(2, 1, 0, False, 5)]
    assert "rule loglikelihood" in page(table)
    assert "2-way 1-shot, soft tokens" in page(table)
    with pytest.raises(V2LError, match="--rule loglikelihood"):
        FewShotEvaluation(pipeline, folder, FewShotSettings(method=Method(rule="channel")), grid).run()


def test_the_encoder_moves_with_its_adapter(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path
) -> None:
    train(models, images, run(tmp_path, 2), "projector")
    tokenizer = load_tokenizer(tmp_path / "model", device="cpu")
    tokenizer.use_joint_encoder(tiny_pipeline().tokenizer.joint_encoder)
    assert tokenizer.to("meta").joint_encoder.device == torch.device("meta")


def test_another_encoder_and_another_llm_are_refused(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path
) -> None:
    train(models, images, run(tmp_path, 2), "resampler")
    tokenizer = load_tokenizer(tmp_path / "model", device="cpu")
    other = tiny_pipeline()
    encoder = other.tokenizer.joint_encoder
    encoder.fingerprint = "another"
    with pytest.raises(V2LError, match="trained with"):
        tokenizer.use_joint_encoder(encoder)
    other.llm.fingerprint = "another"
    with pytest.raises(V2LError, match="as the tokenizer needs"):
        _ = Pipeline(tokenizer, other.llm).llm


def test_an_adapter_of_another_version_is_refused(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path
) -> None:
    train(models, images, run(tmp_path, 2), "projector")
    path = tmp_path / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["adapter"]["channels"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(V2LError, match=r"differ in: channels.*v2l train-adapter"):
        load_tokenizer(tmp_path / "model", device="cpu")


@pytest.mark.parametrize("prompts", ["0123456789abcdef", None])
def test_an_adapter_of_other_prompts_gives_words_and_no_captions(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path, prompts: str | None
) -> None:
    train(models, images, run(tmp_path, 2), "projector")
    assert load(models, tmp_path).llm is models.llm
    path = tmp_path / "model" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["facts"] = {"steps": 2} | ({"prompts": prompts} if prompts else {})
    path.write_text(json.dumps(manifest))
    pipeline = load(models, tmp_path)
    assert read_image_words(pipeline.tokenizer, [images[0].file], WordSelection(2))
    with pytest.raises(V2LError, match=f"the prompts {prompts or 'without examples'}.*v2l train-adapter"):
        _ = pipeline.llm


def test_weights_that_are_not_finite_end_the_training_with_a_lower_rate_to_type(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path
) -> None:
    with pytest.raises(V2LError, match=r"NaN or infinite values.*a lower --rate"):
        train(models, images, run(tmp_path, rate=1e30), "projector")


def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, images: list[CaptionedImage]) -> None:
    with pytest.raises(V2LError, match="--adapter sea"):
        AdapterTraining("resampler", 4, images, run(tmp_path, align=0.5))
    with pytest.raises(V2LError, match="a square number"):
        AdapterTraining("resampler", 5, images, run(tmp_path))
    with pytest.raises(V2LError, match="--adapter resampler"):
        AdapterTraining("perceiver", 4, images, run(tmp_path))


def test_a_projector_begins_near_the_names_of_the_training_images(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path
) -> None:
    recipe = AdapterTraining("projector", 4, images, run(tmp_path)).recipe(models, lambda *_: None, None)
    examples = [recipe.examples.example(number) for number in range(len(recipe.examples.places))]
    names = [recipe.examples.data.images[example.place].label for example in examples]
    wanted = word_embeddings(models.llm, names)[1][:, None]
    fitted = recipe.tokenizer(stacked([example.features for example in examples]))
    torch.nn.init.zeros_(recipe.tokenizer.network.from_features.weight)
    torch.nn.init.zeros_(recipe.tokenizer.network.from_features.bias)
    unfitted = recipe.tokenizer(stacked([example.features for example in examples]))
    assert (fitted - wanted).square().mean() < 0.9 * (unfitted - wanted).square().mean()


def test_maps_are_fitted_where_the_encoder_is(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = AdapterTraining("projector", 4, images, run(tmp_path)).recipe(models, lambda *_: None, None)
    monkeypatch.setattr(adapter_fits, "learn_words", lambda *_: None)
    monkeypatch.setattr(adapter_fits, "fit_to_captions", lambda *_: None)
    elsewhere = AdapterModels(deepcopy(models.encoder).to("meta"), models.llm, models.codebook)
    adapter_fits.fit_maps(recipe.tokenizer, elsewhere, recipe.examples)
    assert recipe.tokenizer.device.type == "meta"


def test_many_captions_are_embedded_in_parts(models: AdapterModels, monkeypatch: pytest.MonkeyPatch) -> None:
    words, asked = [f"{'many ' * (number % 4)}words" for number in range(9)], []
    ids, whole = word_embeddings(models.llm, words)
    embed = models.llm.input_embeddings
    monkeypatch.setattr(models.llm, "input_embeddings", lambda some: asked.append(len(some)) or embed(some))
    monkeypatch.setattr(adapter_words, "CHUNK", 2)
    assert word_embeddings(models.llm, words)[0] == ids
    assert torch.equal(word_embeddings(models.llm, words)[1], whole)
    assert len(asked) == 2 * 5


def test_classes_are_collected_once(images: list[CaptionedImage]) -> None:
    data = CaptionedFeatures(tuple(images), torch.empty(0))
    assert data.classes is data.classes


def test_captions_of_a_file_are_learned_as_they_are(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path
) -> None:
    captioned = [CaptionedImage(image.file, ("a straw hat",)) for image in images]
    recipe = AdapterTraining("resampler", 4, captioned, run(tmp_path)).recipe(models, lambda *_: None, None)
    ((part, *_),) = recipe.batches(0, 1)
    assert {example.sentence.text for example in part} == {"a straw hat."}


def test_naming_is_measured_beside_words_and_baselines(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path
) -> None:
    train(models, images, run(tmp_path, 2), "projector")
    words = tiny_pipeline()
    shown = tuple((image.file, image.label) for image in images[:2])
    task = ChoiceTask("classes", shown, {image.label: (image.file,) for image in images[:2]})
    result = evaluate_choice(load(models, tmp_path), Pipeline(words.tokenizer, models.llm), task)
    assert list(result.shares()) == [SOFT, WORDS_SENTENCE, WORDS_CHOICE, CLASS_TEXT, PROTOTYPE]
    assert result.shares()[PROTOTYPE].value == 1.0  # each image is its class's own prototype
    assert "2 classes, 2 images" in result.page()
    assert result.to_dict()["chance"] == 0.5
    assert result.readable is not None
    assert result.readable.n == 2 * 4  # soft tokens


def test_a_word_is_readable_if_it_names_the_class_or_its_head_noun() -> None:
    found = share_readable([["Pianos", "grand piano", "table"], ["cup", "tea"]], ["grand piano", "cup"])
    assert found.value == 3 / 5
