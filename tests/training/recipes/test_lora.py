"""An adapter learns, resumes exactly, belongs to one LLM and codebook, and leaves the LLM's weights alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_llm import byte_level_tokenizer, tiny_model
from tiny_pipeline import tiny_pipeline

from v2l.checkpoint import load_tensors
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.llm import FrozenLLM
from v2l.llm.adapters import LoraShape, adapted
from v2l.llm.constraints import WeightedIds
from v2l.llm.lora import TRAINING_TEMPERATURE, AdapterExample, TrainableAdapter
from v2l.masks import centre_mask
from v2l.pipeline.pipeline import Pipeline
from v2l.processes import start_processes
from v2l.sources import ImageFile, find_images
from v2l.tasks.restoration.inpaint import inpaint
from v2l.tasks.restoration.settings import ADAPTER
from v2l.tasks.restoration.token_prior import visual_features
from v2l.tasks.restoration.whole_map import predict_map
from v2l.training.loop import update_networks
from v2l.training.recipes.lora import LoraObjective, LoraSettings, plan_adapter, train_adapter
from v2l.training.recipes.lora_examples import TASKS, RestorationExamples, masked_cells
from v2l.training.schedule import WarmupCosine


class StoppedError(Exception):
    """The machine goes down."""


def examples_of(pipeline: Pipeline, tasks: tuple[str, ...] = TASKS) -> RestorationExamples:
    return RestorationExamples(pipeline, tasks)


def objective_of(
    pipeline: Pipeline, schedule: WarmupCosine, features: torch.Tensor, rank: int = 8
) -> LoraObjective:
    adapter = TrainableAdapter(pipeline.llm, LoraShape(rank), visual_features=features)
    return LoraObjective(adapter, schedule, start_processes("cpu"))


@pytest.fixture(scope="module")
def files(samples: Path) -> list[ImageFile]:
    return find_images(samples)[:3]


@pytest.fixture(scope="module")
def photographs(files: list[ImageFile]) -> list[torch.Tensor]:
    return [load_image(file) for file in files]


@pytest.fixture
def settings(tmp_path: Path) -> LoraSettings:
    return LoraSettings(tmp_path / "run", 1e-2, 6, 1, examples_per_step=2, save_every=2, log_every=1)


def adapter_bytes(settings: LoraSettings) -> bytes:
    return (settings.run / "adapter" / "adapter.safetensors").read_bytes()


def features_of(pipeline: Pipeline) -> torch.Tensor:
    return visual_features(pipeline.tokenizer, pipeline.llm.model.get_input_embeddings().num_embeddings)


@pytest.mark.parametrize("tied", [False, True])
def test_the_adapter_learns_an_example_and_the_llm_keeps_its_weights(tied: bool) -> None:
    pipeline = tiny_pipeline()
    if tied:
        pipeline.llm.model.lm_head.weight = pipeline.llm.model.model.embed_tokens.weight
    before = {name: weight.clone() for name, weight in pipeline.llm.model.state_dict().items()}
    objective = objective_of(pipeline, WarmupCosine(2e-2, 90, 1), features_of(pipeline))
    example = AdapterExample(
        list(range(30, 60)),
        [29],
        [WeightedIds(torch.tensor([70, 71, 72, 73]))],
        [torch.tensor([1.0, 1.0, 0.0, 1.0])],
    )
    losses = [update_networks(objective, step, [example])["loss"] for step in range(90)]
    assert losses[-1] < losses[0] / 2
    after = {
        name.replace(".base_layer", "").removeprefix("base_model.model."): weight
        for name, weight in objective.adapter.model.state_dict().items()
    }
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_the_loss_is_the_expected_cost() -> None:
    pipeline = tiny_pipeline()
    with torch.inference_mode():
        logits = pipeline.llm.model(input_ids=torch.tensor([[40, 41, 42, 50]])).logits[0]
    early = ((logits[2, [60, 61, 62]] + torch.tensor([0.0, 0.5, 1.0])) / TRAINING_TEMPERATURE).softmax(dim=0)
    late = (logits[3, [70, 71]] / TRAINING_TEMPERATURE).softmax(dim=0)
    adapter = TrainableAdapter(pipeline.llm, LoraShape(), visual_features=features_of(pipeline))
    choices = [
        WeightedIds(torch.tensor([60, 61, 62]), torch.tensor([0.0, 0.5, 1.0])),
        WeightedIds(torch.tensor([70, 71])),
    ]
    example = AdapterExample(
        [40, 41, 42, 50], [2, 3], choices, [torch.tensor([3.0, 0.0, 1.0]), torch.tensor([0.0, 2.0])]
    )
    expected = (3 * early[0] + early[2] + 2 * late[1]) / 2
    assert adapter.loss(example).item() == pytest.approx(expected.item(), rel=1e-4)


def test_what_one_token_learns_is_shared_by_those_that_look_alike() -> None:
    pipeline = tiny_pipeline()
    features = features_of(pipeline)
    codes = pipeline.tokenizer.local_codebook.token_ids
    assert features[codes].mean(dim=0).abs().max() < 1e-4
    assert not features[[token for token in range(len(features)) if token not in set(codes.tolist())]].any()
    taught = int(codes[0])
    alike = int(codes[1:][(features[codes[1:]] - features[taught]).square().sum(dim=1).argmin()])
    unlike = int(codes[(features[codes] - features[taught]).square().sum(dim=1).argmax()])
    objective = objective_of(pipeline, WarmupCosine(1e-2, 20, 1), features, rank=1)
    ids = [40, 41, 42]
    with torch.no_grad():
        before = objective.adapter.model(input_ids=torch.tensor([ids])).logits[0, -1]
    example = AdapterExample(ids, [2], [WeightedIds(codes)], [(codes != taught).float()])
    for number in range(20):
        update_networks(objective, number, [example])
    with torch.no_grad():
        gained = objective.adapter.model(input_ids=torch.tensor([ids])).logits[0, -1] - before
    assert gained[taught] > gained[unlike]
    assert gained[alike] > gained[unlike]


def clean_ids(pipeline: Pipeline, photograph: torch.Tensor) -> list[int]:
    return pipeline.tokenizer.encode_local(pipeline.tokenizer.square(photograph[None]))[0].flatten().tolist()


@pytest.mark.parametrize("task", TASKS)
def test_examples_are_prompts_of_use_and_the_nearest_candidate_costs_nothing(
    stack_: Pipeline, photographs: list[torch.Tensor], task: str
) -> None:
    first, *others = photographs
    examples = examples_of(stack_)
    example = examples.make(first, others, task, torch.Generator().manual_seed(1))
    grid = len(clean_ids(stack_, first))
    cells = [
        place
        for place in range(grid)
        if task != "mask" or masked_cells((8, 8), torch.Generator().manual_seed(1)).flatten()[place]
    ]
    assert len(example.places) == len(example.choices) == len(example.costs) == len(cells)
    unseen = (len(stack_.llm.encode_pieces(" ?")) - 1) * len(cells) if task == "mask" else 0
    assert (
        len(example.prompt) == grid + len(cells) + 8 + unseen
    )  # every cell, the prior of those to be predicted, one mark for each row
    entries, row_of = stack_.tokenizer.quantizer.entries(), stack_.tokenizer.local_codebook.row_of_token
    clean = clean_ids(stack_, first)
    for cell, place, choices, costs in zip(
        cells, example.places, example.choices, example.costs, strict=True
    ):
        assert 1 <= len(choices.ids) <= ADAPTER.num_candidates
        assert example.prompt[place] == int(choices.ids[0])
        distances = [
            (entries[row_of[token]] - entries[row_of[clean[cell]]]).square().sum().item()
            for token in choices.ids.tolist()
        ]
        assert costs.tolist() == pytest.approx(
            [distance - min(distances) for distance in distances], abs=1e-4
        )
    again = examples.make(first, others, task, torch.Generator().manual_seed(1))
    assert (again.prompt, again.places) == (example.prompt, example.places)


def test_hidden_pixels_do_not_reach_a_prompt(stack_: Pipeline) -> None:
    examples = examples_of(stack_)
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    hidden = masked_cells((8, 8), torch.Generator().manual_seed(4))
    mask = hidden.repeat_interleave(8, 0).repeat_interleave(8, 1)
    noise = torch.where(mask, torch.rand(1, 3, 64, 64), image)
    first, second = (examples.masked(pixels, hidden) for pixels in (image, noise))
    assert (first.prompt, first.cells, first.given) == (second.prompt, second.cells, second.given)
    assert all(torch.equal(one.ids, two.ids) for one, two in zip(first.allowed, second.allowed, strict=True))


def test_a_saved_adapter_predicts_as_the_trained_one_did(
    files: list[ImageFile], settings: LoraSettings
) -> None:
    pipeline = tiny_pipeline()
    pipeline.llm.model.lm_head.weight = (
        pipeline.llm.model.model.embed_tokens.weight
    )  # tied, as the embedded LLM's
    examples = examples_of(pipeline)
    question = examples.masked(
        torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)),
        masked_cells((8, 8), torch.Generator()),
    )
    frozen = predict_map(pipeline, question, ADAPTER)
    train_adapter(examples, files, settings)
    trained = predict_map(pipeline, question, ADAPTER)
    fresh = tiny_pipeline().llm
    fresh.model.lm_head.weight = fresh.model.model.embed_tokens.weight
    loaded = predict_map(
        Pipeline(pipeline.tokenizer, fresh, adapter=settings.run / "adapter"), question, ADAPTER
    )
    likelihoods = [[window.loglikelihood for window in windows] for windows in (frozen, trained, loaded)]
    names = load_tensors(settings.run / "adapter" / "adapter.safetensors").keys()
    assert all("lora_" in name for name in names)  # none of the LLM's own weights
    assert likelihoods[2] == pytest.approx(likelihoods[1], abs=0.05)  # half precision
    assert likelihoods[2] != pytest.approx(likelihoods[0], abs=0.05)


@pytest.fixture(scope="module", name="stack_")
def one_stack() -> Pipeline:
    return tiny_pipeline()


def test_masks_are_of_three_kinds_and_never_empty_or_full() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = [masked_cells((8, 8), generator) for _ in range(60)]
    assert all(0 < int(mask.sum()) < 64 for mask in masks)
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) > 20
    assert any(int(mask.sum()) == round(0.3 * 64) for mask in masks)


def test_a_resumed_run_gives_the_adapter_of_one_that_never_stopped(
    files: list[ImageFile], settings: LoraSettings, tmp_path: Path
) -> None:
    assert train_adapter(examples_of(tiny_pipeline()), files, settings) == 6
    second = replace(settings, run=tmp_path / "second")

    def stop(step: int, terms: dict[str, float]) -> None:
        if step == 5:  # the last state is of step 4
            raise StoppedError

    with pytest.raises(StoppedError):
        train_adapter(examples_of(tiny_pipeline()), files, second, stop)
    steps: list[int] = []
    assert (
        train_adapter(examples_of(tiny_pipeline()), files, second, lambda step, terms: steps.append(step))
        == 6
    )
    assert steps == [5, 6]
    assert adapter_bytes(second) == adapter_bytes(settings)


def test_a_run_with_other_settings_is_refused(files: list[ImageFile], settings: LoraSettings) -> None:
    short = replace(settings, steps=2)
    train_adapter(examples_of(tiny_pipeline()), files, short)
    with pytest.raises(V2LError, match="ANOTHER_FOLDER"):
        train_adapter(examples_of(tiny_pipeline()), files, settings)


def test_an_adapter_changes_the_llm_that_it_belongs_to_and_no_other(
    files: list[ImageFile], settings: LoraSettings
) -> None:
    pipeline = tiny_pipeline()
    train_adapter(examples_of(pipeline), files, settings)
    folder = settings.run / "adapter"
    tuned, plain = Pipeline(pipeline.tokenizer, tiny_pipeline().llm, adapter=folder), tiny_pipeline()
    ids = torch.tensor([[40, 41, 42]])
    with torch.inference_mode():
        assert not torch.equal(tuned.llm.model(input_ids=ids).logits, plain.llm.model(input_ids=ids).logits)
    assert tuned.llm.adapter == str(folder)
    assert tuned.describe()["adapter"] == str(folder)
    assert not any(parameter.requires_grad for parameter in tuned.llm.model.parameters())
    with pytest.raises(V2LError, match="another codebook"):
        adapted(tiny_pipeline().llm, folder, "another")
    wider = byte_level_tokenizer()
    wider.add_tokens(["<new>"])
    other = FrozenLLM(tiny_model(len(wider), 0), wider, "other")
    with pytest.raises(V2LError, match="another LLM"):
        adapted(other, folder, pipeline.codebook_fingerprint)


def test_a_tuned_llm_stays_blind(files: list[ImageFile], settings: LoraSettings) -> None:
    pipeline = tiny_pipeline()
    train_adapter(examples_of(pipeline), files, settings)
    tuned = Pipeline(pipeline.tokenizer, tiny_pipeline().llm, adapter=settings.run / "adapter")
    image = load_image(files[0])[:, :100, :100]
    mask = centre_mask((100, 100))
    noise = torch.where(mask, torch.rand(3, 100, 100), image)
    first, second = (inpaint(tuned, pixels, mask) for pixels in (image, noise))
    assert first.log == second.log
    assert torch.equal(first.tokens.local_ids, second.tokens.local_ids)


@pytest.mark.parametrize("change", [{"examples_per_step": 0}, {"save_every": 0}, {"rate": 0.0}, {"steps": 0}])
def test_settings_out_of_range_are_refused(settings: LoraSettings, change: dict) -> None:
    with pytest.raises(V2LError):
        replace(settings, **change)


@pytest.mark.parametrize("tasks", [("juggle",), ()])
def test_unknown_tasks_are_refused(stack_: Pipeline, tasks: tuple[str, ...]) -> None:
    with pytest.raises(V2LError, match="--tasks mask"):
        examples_of(stack_, tasks)


def test_a_run_is_logged_and_its_figures_are_named(files: list[ImageFile], settings: LoraSettings) -> None:
    train_adapter(examples_of(tiny_pipeline()), files, settings)
    lines = (settings.run / "log.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines[1:4]] == [
        ["1", "loss"],
        ["1", "learning_rate"],
        ["1", "skipped"],
    ]
    assert list((settings.run / "tensorboard").glob("events*"))


def test_a_plan_measures_steps_and_writes_nothing(files: list[ImageFile], settings: LoraSettings) -> None:
    plan = plan_adapter(examples_of(tiny_pipeline()), files, settings)
    assert [(phase.name, phase.steps) for phase in plan.phases] == [("all steps", 6)]
    assert plan.images_per_step == 2
    assert not settings.run.exists()


def test_a_state_of_the_loop_before_is_refused_in_one_line(
    files: list[ImageFile], settings: LoraSettings
) -> None:
    (settings.run / "state").mkdir(parents=True)
    with pytest.raises(V2LError, match="older v2l train-lora"):
        train_adapter(examples_of(tiny_pipeline()), files, settings)


def test_layers_that_the_llm_lacks_are_refused() -> None:
    with pytest.raises(V2LError, match="q_proj"):
        TrainableAdapter(tiny_pipeline().llm, LoraShape(targets=("wq",)))
    with pytest.raises(V2LError, match="--rank 4"):
        LoraShape(rank=0)
