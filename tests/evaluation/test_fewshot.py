"""The few-shot table: the paper's grid, journals of one LLM only, the control with shuffled weights."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
import torch
from tiny_llm import tiny_model
from tiny_pipeline import tiny_pipeline

from v2l.datasets import ClassFolder
from v2l.errors import V2LError
from v2l.evaluation.fewshot import CONTROL, Cell, FewShotEvaluation, FewShotTable, Grid, page
from v2l.llm import FrozenLLM
from v2l.llm.shuffle import shuffle_weights
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.classification.fewshot import FewShotSettings

GRID = Grid(n_ways=(2,), k_shots=(1, 2), repeats=(0, 1), n_words=(3,))
SETTINGS = FewShotSettings(episodes=3, seed=5)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return tiny_pipeline()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("V2L_HOME", str(tmp_path / "cache"))


@pytest.fixture
def evaluation(pipeline: Pipeline, samples: Path) -> FewShotEvaluation:
    return FewShotEvaluation(pipeline, ClassFolder.load(samples), SETTINGS, GRID)


def test_the_grid_is_the_papers_table_1() -> None:
    cells = Grid().cells()
    assert len(cells) == len(set(cells)) == 2 * 2 * 7
    columns = [
        (cell.induction, cell.k_shots, cell.repeats)
        for cell in cells
        if (cell.n_ways, cell.n_words) == (2, 5)
    ]
    described = [(True, 1, 0), (True, 1, 1), (True, 1, 3), (True, 1, 5), (True, 3, 0), (True, 5, 0)]
    assert columns == [(False, 1, 0), *described]


def test_a_grid_can_be_a_part_of_the_table_or_every_combination() -> None:
    assert len(Grid(n_ways=(2,), induction=(False,), n_words=(5,)).cells()) == 6
    assert len(Grid(every=True).cells()) == 2 * 3 * 4 * 2 * 2


def test_a_cell_sets_words_repeats_and_description_of_the_method() -> None:
    method = Cell(2, 1, 3, True, 21).method(SETTINGS.method)
    assert (method.words.count, method.format.repeats, method.format.induction) == (21, 3, True)
    assert method.rule == SETTINGS.method.rule


def test_every_cell_has_its_accuracy_beside_the_baselines(evaluation: FewShotEvaluation) -> None:
    steps: list[tuple[str, int, int]] = []
    table = evaluation.run(progress=lambda *step: steps.append(step))
    report = json.loads(json.dumps(table.to_dict()))
    assert [cell["n"] for cell in report["cells"]] == [3] * len(GRID.cells())
    for cell in report["cells"]:
        low, high = cell["accuracy"]["interval"]
        assert low <= cell["accuracy"]["value"] <= high
        assert cell["baselines"].keys() == {"chance", "majority", "prototype", "zero-shot", "shared words"}
    assert report["seed"] == 5
    assert steps[-1] == ("answers", 12, 12)
    assert page(table).count("2-way") == len(GRID.cells())


def test_cells_of_equal_ways_and_shots_use_the_same_episodes(evaluation: FewShotEvaluation) -> None:
    first, second, *_ = evaluation.run().cells
    assert [prediction.query for prediction in first.predictions] == [
        prediction.query for prediction in second.predictions
    ]


def test_a_stopped_run_continues_after_its_last_record(evaluation: FewShotEvaluation, tmp_path: Path) -> None:
    whole = evaluation.run(tmp_path / "whole.jsonl")
    log = tmp_path / "stopped.jsonl"
    log.write_text("".join(islice((tmp_path / "whole.jsonl").open(), 6)) + '{"cell": {"n_wa')
    steps: list[int] = []
    again = evaluation.run(log, lambda _, done, __: steps.append(done))
    assert steps == list(range(6, 13))
    assert again.to_dict() == whole.to_dict()
    assert log.read_text() == (tmp_path / "whole.jsonl").read_text()


def test_a_journal_of_other_settings_is_refused(evaluation: FewShotEvaluation, tmp_path: Path) -> None:
    small = replace(evaluation, grid=Grid((2,), (1,), (0,), (False,), (3,)))
    small.run(tmp_path / "log.jsonl")
    with pytest.raises(V2LError, match="seed"):
        replace(small, settings=replace(SETTINGS, seed=6)).run(tmp_path / "log.jsonl")


def train_on(pipeline: Pipeline) -> None:
    """Change the tokenizer's weights, as training into the same folder does."""
    with torch.no_grad():
        next(pipeline.tokenizer.parameters()).add_(1)


def test_a_journal_of_a_tokenizer_that_was_trained_on_is_refused(samples: Path, tmp_path: Path) -> None:
    grid = Grid((2,), (1,), (0,), (False,), (3,))
    small = FewShotEvaluation(tiny_pipeline(), ClassFolder.load(samples), SETTINGS, grid)
    small.run(tmp_path / "log.jsonl")
    train_on(small.pipeline)
    with pytest.raises(V2LError, match="tokenizer_weights"):
        small.run(tmp_path / "log.jsonl")


def test_a_journal_of_other_images_under_the_same_names_is_refused(
    pipeline: Pipeline, samples: Path, tmp_path: Path
) -> None:
    folder, log = tmp_path / "classes", tmp_path / "log.jsonl"
    shutil.copytree(samples, folder)
    grid = Grid((2,), (1,), (0,), (False,), (3,))
    small = FewShotEvaluation(pipeline, ClassFolder.load(folder), SETTINGS, grid)
    small.run(log)
    shutil.copy(folder / "shoes" / "boots.jpg", folder / "hat" / "straw.jpg")
    with pytest.raises(V2LError, match=r"images\.fingerprint"):
        small.run(log)


def other_llm(pipeline: Pipeline, name: str = "tiny", seed: int = 1) -> Pipeline:
    """A pipeline with the same tokenizer and vocabulary, and with an LLM of other weights."""
    known = pipeline.llm
    model = tiny_model(len(known.tokenizer), known.tokenizer.eos_token_id, seed=seed)
    return Pipeline(pipeline.tokenizer, FrozenLLM(model, known.tokenizer, name))


def test_a_journal_of_another_llm_with_the_same_vocabulary_is_refused_with_both(
    evaluation: FewShotEvaluation, tmp_path: Path
) -> None:
    small = replace(evaluation, grid=Grid((2,), (1,), (0,), (False,), (3,)))
    small.run(tmp_path / "log.jsonl")
    before = (tmp_path / "log.jsonl").read_text()
    first = small.pipeline.llm
    for name in ("tiny", "large"):
        other = other_llm(small.pipeline, name)
        assert other.llm.fingerprint == first.fingerprint
        with pytest.raises(V2LError) as caught:
            replace(small, pipeline=other).run(tmp_path / "log.jsonl")
        line = str(caught.value)
        assert f"'tiny' (weights {first.weights_fingerprint})" in line
        assert f"{name!r} (weights {other.llm.weights_fingerprint})" in line
        assert "try: another --log, or as in the first run: --llm tiny" in line
    assert (tmp_path / "log.jsonl").read_text() == before


def test_a_finished_run_classifies_nothing_again(
    evaluation: FewShotEvaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table: FewShotTable = evaluation.run(tmp_path / "log.jsonl")
    monkeypatch.setattr("v2l.evaluation.fewshot.classify_episode", lambda *_: pytest.fail("classified again"))
    assert evaluation.run(tmp_path / "log.jsonl").to_dict() == table.to_dict()


def test_the_control_is_an_llm_with_shuffled_weights(evaluation: FewShotEvaluation) -> None:
    small = replace(evaluation, grid=Grid((2,), (1,), (0,), (False,), (3,)), control=True)
    (cell,) = small.run().cells
    assert len(cell.control) == 3
    assert cell.baselines[CONTROL].n == 3


def test_shuffling_keeps_the_values_of_every_weight_and_does_not_change_the_llm(pipeline: Pipeline) -> None:
    before = {name: weight.clone() for name, weight in pipeline.llm.model.named_parameters()}
    other = shuffle_weights(pipeline.llm, seed=1)
    for name, weight in other.model.named_parameters():
        assert torch.equal(weight.flatten().sort().values, before[name].flatten().sort().values)
        assert torch.equal(pipeline.llm.model.get_parameter(name), before[name])
    assert any(not torch.equal(weight, before[name]) for name, weight in other.model.named_parameters())
    assert "shuffled" in other.name
