"""A resumed evaluation equals an uninterrupted one; protocols are never mixed, and baselines are blind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
import torch
from tiny_metrics import tiny_metrics
from torch import Tensor

from v2l.corruptions import TASKS, Shift
from v2l.errors import V2LError
from v2l.evaluation.reconstruction import PSNR_OF_EQUAL_IMAGES
from v2l.evaluation.restoration.baselines import candidate_fill, mean_fill, nearest_token_fill, telea_fill
from v2l.evaluation.restoration.cases import (
    AS_CORRUPTED,
    CEILING,
    FIRST,
    INVERSE,
    LLM,
    MEAN,
    NEAREST,
    NOTHING,
    RANDOM,
    TELEA,
    VOTE,
    CaseSettings,
    Methods,
    make_case,
)
from v2l.evaluation.restoration.report import page, pictures, report
from v2l.evaluation.restoration.run import Restoration, RestorationPlan, RestorationResult, areas
from v2l.images import load_image
from v2l.pipeline.pipeline import Pipeline
from v2l.sources import ImageFile, find_images
from v2l.tasks.restoration.restorer import Restorer
from v2l.tasks.restoration.settings import RestorationSettings
from v2l.tasks.restoration.token_prior import CandidateTokens
from v2l.training.recipes.restorer import new_restorer

SOFT = "restorer, llm"
SETTINGS = RestorationSettings(n_context=3, n_before=0, n_examples=4, n_predict=4)


class StoppedError(Exception):
    """Ctrl-C, as the test presses it."""


@pytest.fixture(scope="module")
def files(samples: Path) -> list[ImageFile]:
    return find_images(samples)


@pytest.fixture(scope="module")
def photographs(files: list[ImageFile]) -> tuple[Tensor, ...]:
    return tuple(load_image(file) for file in files[-3:])


def evaluation_of(
    pipeline: Pipeline, protocol: str, photographs: tuple[Tensor, ...], **plan: object
) -> Restoration:
    cases = CaseSettings(protocol, SETTINGS)
    return Restoration(
        pipeline, tiny_metrics(), replace(RestorationPlan(cases, limit=2, seed=1), **plan), photographs
    )


@pytest.fixture(scope="module", params=["paper", "blind"])
def evaluation(
    request: pytest.FixtureRequest, pipeline: Pipeline, photographs: tuple[Tensor, ...]
) -> Restoration:
    return evaluation_of(pipeline, request.param, photographs)


@pytest.fixture(scope="module")
def result(evaluation: Restoration, files: list[ImageFile]) -> RestorationResult:
    return evaluation.run(files)


def test_every_task_has_figures_intervals_and_its_baselines(
    evaluation: Restoration, result: RestorationResult
) -> None:
    found = json.loads(json.dumps(report(result), allow_nan=False))
    protocol = evaluation.settings.cases.protocol
    assert found["protocol"] == protocol
    assert found["metrics"].keys() == found["baselines"].keys() == set(TASKS)
    hidden = {MEAN, TELEA, NEAREST, CEILING, *([VOTE] if protocol == "paper" else [FIRST, RANDOM])}
    assert found["baselines"]["inpaint"].keys() == found["baselines"]["outpaint"].keys() == hidden
    assert {NOTHING, AS_CORRUPTED, CEILING} <= found["baselines"]["deblur"].keys()
    assert (VOTE in found["baselines"]["deblur"]) is (protocol == "paper")
    for task, figures in found["metrics"].items():
        low, high = figures["token_accuracy"]["interval"]
        assert low <= figures["token_accuracy"]["value"] <= high
        assert figures["whole"]["psnr"]["interval"]
        assert ("region" in figures) is (task in ("inpaint", "outpaint"))
    assert found["n"] == 2
    assert found["windows"] == {"inpaint": 4, "outpaint": 8, "deblur": 16, "unshift": 16, "unrotate": 16}
    assert found["networks"]["perceptual"] == "lpips-squeeze"


def test_the_exact_inverse_is_exact_and_the_ceiling_has_every_token(result: RestorationResult) -> None:
    found = report(result)["baselines"]
    for task in ("unshift", "unrotate"):
        assert found[task][INVERSE]["whole"]["psnr"]["value"] == PSNR_OF_EQUAL_IMAGES
    assert INVERSE not in found["deblur"]
    assert "token_accuracy" not in found["deblur"][CEILING]


def test_people_read_the_protocol_and_every_row(result: RestorationResult) -> None:
    text = page(result)
    assert f"Protocol `{result.settings.cases.protocol}`" in text
    assert all(row in text for row in (LLM, NEAREST, NOTHING, CEILING))
    shown = pictures(result)
    assert shown.shape[1] > 10 * 160
    assert shown.shape[2] > 5 * 160


def test_a_resumed_evaluation_equals_one_without_a_stop(
    evaluation: Restoration, files: list[ImageFile], result: RestorationResult, tmp_path: Path
) -> None:
    def stop(step: str, done: int, total: int) -> None:
        if done == 6:
            raise StoppedError

    log = tmp_path / "log.jsonl"
    with pytest.raises(StoppedError):
        evaluation.run(files, log, stop)
    assert len(log.read_text().splitlines()) == 1 + 6
    again = evaluation.run(files, log)
    assert report(again) == report(result)
    assert torch.equal(pictures(again), pictures(result))


def test_a_journal_of_the_other_protocol_is_refused(
    pipeline: Pipeline, photographs: tuple[Tensor, ...], files: list[ImageFile], tmp_path: Path
) -> None:
    first = evaluation_of(pipeline, "paper", photographs, tasks=("inpaint",), limit=1)
    first.run(files, tmp_path / "log.jsonl")
    with pytest.raises(V2LError, match="protocol"):
        evaluation_of(pipeline, "blind", photographs, tasks=("inpaint",), limit=1).run(
            files, tmp_path / "log.jsonl"
        )


def test_some_windows_give_token_accuracy_and_no_pictures(pipeline: Pipeline, files: list[ImageFile]) -> None:
    cases = CaseSettings("paper", SETTINGS, windows=2)
    some = Restoration(pipeline, tiny_metrics(), RestorationPlan(cases, ("deblur", "inpaint"), limit=2)).run(
        files
    )
    found = report(some)
    assert found["windows"] == {"deblur": 2, "inpaint": 2}
    assert found["metrics"]["deblur"].keys() == {"token_accuracy"}
    assert pictures(some) is None
    assert "right tokens" in page(some)


def test_unreadable_files_are_listed_and_none_at_all_is_refused(
    pipeline: Pipeline, files: list[ImageFile], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no image")
    plan = RestorationPlan(CaseSettings("paper", SETTINGS, windows=1), ("inpaint",), limit=None)
    mixed = Restoration(pipeline, tiny_metrics(), plan).run([bad, files[0]])
    assert [file for file, _ in mixed.skipped] == [str(bad)]
    assert mixed.files == [str(files[0])]
    with pytest.raises(V2LError, match="none of 1"):
        Restoration(pipeline, tiny_metrics(), plan).run([bad])


@pytest.fixture(scope="module")
def restorers(pipeline: Pipeline) -> dict[str, Restorer]:
    restorer = new_restorer(pipeline, "llm")
    torch.nn.init.normal_(restorer.maps)
    torch.nn.init.normal_(restorer.last.weight)
    return {SOFT: restorer}


def test_no_method_gets_the_masked_pixels_of_a_blind_case(
    pipeline: Pipeline,
    photographs: tuple[Tensor, ...],
    files: list[ImageFile],
    restorers: dict[str, Restorer],
) -> None:
    methods = Methods(pipeline, CaseSettings("blind", SETTINGS), photographs, restorers)
    for task in ("inpaint", "outpaint"):
        case = make_case(pipeline, load_image(files[0]), task, seed=3)
        noise = torch.where(case.mask, torch.rand(case.clean.shape), case.clean)
        first, second = (
            methods.restore(replace(case, corrupted=corrupted), 3) for corrupted in (case.clean, noise)
        )
        for row in (LLM, SOFT, NEAREST, FIRST, RANDOM):
            assert torch.equal(first.ids[row], second.ids[row])
            assert torch.equal(first.pictures[row], second.pictures[row])
        for row in (MEAN, TELEA):
            assert torch.equal(first.pictures[row], second.pictures[row])
        assert torch.equal(first.pictures[LLM][:, ~case.mask], case.clean[:, ~case.mask])


@pytest.mark.parametrize("task", ["deblur", "unshift", "unrotate"])
def test_no_method_gets_the_clean_image_of_a_corrupted_case(
    pipeline: Pipeline,
    photographs: tuple[Tensor, ...],
    files: list[ImageFile],
    restorers: dict[str, Restorer],
    task: str,
) -> None:
    methods = Methods(pipeline, CaseSettings("blind", SETTINGS), photographs, restorers)
    case = make_case(pipeline, load_image(files[0]), task, seed=3)
    first, second = (
        methods.restore(replace(case, clean=clean), 3) for clean in (case.clean, torch.rand(case.clean.shape))
    )
    rows = set(first.pictures) - {CEILING}
    assert {LLM, SOFT, FIRST, RANDOM, NOTHING} <= rows
    assert all(torch.equal(first.pictures[row], second.pictures[row]) for row in rows)


def test_cases_repeat_with_their_seed_and_the_official_shift_is_a_corner(
    pipeline: Pipeline, samples: Path
) -> None:
    photograph = load_image(samples / "pants" / "tartan.jpg")
    first, second, other = (make_case(pipeline, photograph, "unshift", seed) for seed in (1, 1, 2))
    assert torch.equal(first.corrupted, second.corrupted)
    assert isinstance(other.corruption, Shift)
    assert first.corruption != other.corruption
    corner = make_case(pipeline, photograph, "unshift", 1, official=True)
    assert corner.corruption is None
    assert not torch.equal(corner.corrupted, corner.clean)


def test_regions_are_cut_at_their_cells(pipeline: Pipeline, samples: Path) -> None:
    photograph = load_image(samples / "hat" / "straw.jpg")
    found = {task: areas(make_case(pipeline, photograph, task, 0)) for task in TASKS}
    assert found["inpaint"]["region"] == (slice(16, 48), slice(16, 48))
    assert found["outpaint"]["region"] == (slice(32, 64), slice(0, 64))
    assert found["deblur"] == {"whole": (slice(0, 64), slice(0, 64))}


def test_baselines_use_visible_parts_only() -> None:
    image, mask = torch.rand(3, 20, 20), torch.zeros(20, 20, dtype=torch.bool)
    mask[5:15, 5:15] = True
    noise = torch.where(mask, torch.rand(3, 20, 20), image)
    for fill in (mean_fill, telea_fill):
        assert torch.equal(fill(image, mask), fill(noise, mask))
        assert torch.equal(fill(image, mask)[:, ~mask], image[:, ~mask])
    assert torch.allclose(mean_fill(image, mask)[:, 7, 7], image[:, ~mask].mean(dim=1))


def test_token_fillings_take_what_is_near() -> None:
    ids, hidden = torch.arange(25).view(5, 5), torch.zeros(5, 5, dtype=torch.bool)
    hidden[2, 1:5] = True
    assert nearest_token_fill(ids, hidden)[2].tolist() == [10, 6, 7, 8, 9]
    choices = {11: CandidateTokens([10, 6], [0.0, -1.0]), 14: CandidateTokens([24], [0.0])}
    assert candidate_fill(ids, choices)[2].tolist() == [10, 10, 12, 13, 24]
    drawn = [candidate_fill(ids, choices, Random(seed)) for seed in range(20)]
    assert {int(fill[2, 1]) for fill in drawn} == {10, 6}
    assert all(torch.equal(fill[3:], ids[3:]) for fill in drawn)


@pytest.mark.parametrize("change", [{"tasks": ("juggle",)}, {"tasks": ()}])
def test_unknown_tasks_are_refused(change: dict) -> None:
    with pytest.raises(V2LError, match="inpaint, outpaint, deblur"):
        RestorationPlan(**change)


def test_restorers_are_measured_without_prompts(
    pipeline: Pipeline,
    photographs: tuple[Tensor, ...],
    files: list[ImageFile],
    restorers: dict[str, Restorer],
    tmp_path: Path,
) -> None:
    plan = RestorationPlan(CaseSettings("blind", SETTINGS, prompts=False), ("inpaint", "deblur"), limit=2)
    evaluation = Restoration(pipeline, tiny_metrics(), plan, photographs, restorers)
    result = evaluation.run(files, tmp_path / "log.jsonl")
    rows = result.totals["inpaint"].figures["region"]
    assert {SOFT, FIRST, TELEA} <= rows.keys()
    assert LLM not in rows
    assert SOFT in page(result)
    assert set(report(result)["baselines"]) == {"inpaint", "deblur"}
    with pytest.raises(V2LError, match="another"):
        replace(evaluation, restorers={}).run(files, tmp_path / "log.jsonl")
    with pytest.raises(V2LError, match="--protocol blind"):
        CaseSettings("paper", prompts=False)
    restorer = new_restorer(pipeline, "linear")
    restorer.settings = replace(restorer.settings, codes="another")
    with pytest.raises(V2LError, match="those of the tokenizer"):
        Methods(pipeline, CaseSettings("blind"), photographs, {SOFT: restorer})


def test_unknown_protocols_and_blindness_without_examples_are_refused(pipeline: Pipeline) -> None:
    with pytest.raises(V2LError, match="paper, official, blind"):
        CaseSettings("clairvoyant")
    with pytest.raises(V2LError, match="--examples"):
        Methods(pipeline, CaseSettings("blind"))


def header_of_0_1(evaluation: Restoration, drawn: list[ImageFile]) -> dict:
    """The first line of a journal that version 0.1 began: every key as it was on disk."""
    now = evaluation.metadata(drawn)
    prediction = {
        "n_context": 3,
        "n_predict": 4,
        "n_before": 0,
        "above": 0,
        "n_examples": 4,
        "splits": 1,
        "draws": 1,
        "contrast": 0.0,
        "order": "raster",
        "candidates": 1,
        "seed": 0,
        "temperature": 0.0,
        "top_k": 0,
        "prompt": "tuned",
        "palette": 32,
        "trust": 0.0,
        "reading": "windows",
        "batch_tokens": 2048,
    }
    stack = ("checkpoint", "llm", "llm_fingerprint", "encoder", "encoder_fingerprint", "variant")
    described = evaluation.pipeline.describe()
    return {
        "protocol": "restoration, paper",
        "settings": {
            "scenes": {"protocol": "paper", "asking": prediction, "windows": 1},
            "tasks": ["inpaint", "deblur"],
            "seed": 1,
            "limit": 2,
        },
        "judge": "lpips-squeeze",
        "stack": {name: described[name] for name in stack},
        **{name: now[name] for name in ("photographs", "examples", "weights")},
    }


def test_a_journal_of_version_0_1_is_resumed(
    pipeline: Pipeline, files: list[ImageFile], tmp_path: Path
) -> None:
    plan = RestorationPlan(CaseSettings("paper", SETTINGS, windows=1), ("inpaint", "deblur"), seed=1, limit=2)
    evaluation, log = Restoration(pipeline, tiny_metrics(), plan), tmp_path / "log.jsonl"
    straight = evaluation.run(files, log)
    lines = log.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines[1:]]
    assert all(record.keys() == {"file", "task", "tokens", "told", "figures"} for record in records)
    old = {"facts": header_of_0_1(evaluation, plan.draw(files))}
    log.write_text("\n".join([json.dumps(old), *lines[1:3]]) + "\n", encoding="utf-8")
    done: list[int] = []
    resumed = evaluation.run(files, log, lambda step, number, total: done.append(number))
    assert done == [3, 4]  # the first two cases came from the journal
    assert report(resumed) == report(straight)
