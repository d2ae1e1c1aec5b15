"""A reconstruction is measured the same whether it was stopped or not, and says what it could not read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_metrics import tiny_metrics
from tiny_pipeline import tiny_pipeline

import v2l.evaluation.reconstruction as module
from v2l.errors import V2LError
from v2l.evaluation.reconstruction import (
    PSNR_OF_EQUAL_IMAGES,
    Reconstruction,
    ReconstructionResult,
    ReconstructionSettings,
    Totals,
)
from v2l.evaluation.reconstruction_methods import (
    OWN,
    SHRUNK,
    SHUFFLED,
    ReconstructedImages,
    ReconstructionMethods,
)
from v2l.evaluation.reconstruction_pictures import pictures
from v2l.evaluation.reconstruction_report import FIGURES, REFERENCE_CODEC, page, report
from v2l.metrics import psnr
from v2l.sources import ImageFile, find_images


class StoppedError(Exception):
    """Ctrl-C, as the test presses it."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 3)


@pytest.fixture(scope="module")
def evaluation() -> Reconstruction:
    pipeline = tiny_pipeline()
    return Reconstruction(
        pipeline,
        ReconstructionMethods(pipeline.tokenizer, size=64),
        tiny_metrics(),
        ReconstructionSettings(64, seed=1, limit=7),
    )


@pytest.fixture(scope="module")
def files(samples: Path) -> list[ImageFile]:
    return find_images(samples)


@pytest.fixture(scope="module")
def result(evaluation: Reconstruction, files: list[ImageFile]) -> ReconstructionResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BATCH", 3)
        return evaluation.run(files)


def test_every_row_has_every_figure_of_every_photograph(result: ReconstructionResult) -> None:
    assert len(result.files) == 7
    assert result.figures.keys() == result.frechet.keys()
    assert all(len(values) == 7 for of_row in result.figures.values() for values in of_row.values())
    assert result.figures[OWN].keys() == {*FIGURES, "bytes"}


def test_the_figures_are_those_of_the_photographs(
    evaluation: Reconstruction, files: list[ImageFile], result: ReconstructionResult
) -> None:
    drawn = evaluation.settings.draw(files)
    assert [str(file) for file in drawn] == result.files
    crops = evaluation.methods.read(drawn, module.Skipped())
    reconstructions = evaluation.methods.reconstruct(crops, evaluation.words_before(drawn, 0))
    for row in (OWN, SHUFFLED, REFERENCE_CODEC, SHRUNK):
        assert result.figures[row]["psnr"] == pytest.approx(
            psnr(crops.crops, reconstructions.rows[row].images).tolist(), rel=1e-4
        )
    assert int(result.usage.counts.sum()) == 7 * 64
    assert result.usage.used == len(reconstructions.local_rows.unique())


@pytest.mark.parametrize("batches", [1, 2])
def test_a_stopped_run_continues_to_the_same_report(
    batches: int,
    evaluation: Reconstruction,
    files: list[ImageFile],
    result: ReconstructionResult,
    tmp_path: Path,
) -> None:
    def stop(step: str, done: int, total: int) -> None:
        if done >= 3 * batches:
            raise StoppedError

    log = tmp_path / "log.jsonl"
    with pytest.raises(StoppedError):
        evaluation.run(files, log, stop)
    assert len(log.read_text().splitlines()) == 1 + batches
    again = evaluation.run(files, log)
    assert report(again) == report(result)
    assert report(evaluation.run(files, log)) == report(result)


def test_a_journal_of_other_weights_is_refused(
    evaluation: Reconstruction, files: list[ImageFile], tmp_path: Path
) -> None:
    evaluation.run(files, tmp_path / "log.jsonl")
    pipeline = tiny_pipeline()
    with torch.no_grad():
        pipeline.tokenizer.decoder.conv_out.bias += 1
    other = Reconstruction(
        pipeline, ReconstructionMethods(pipeline.tokenizer, size=64), evaluation.metrics, evaluation.settings
    )
    with pytest.raises(V2LError, match="weights"):
        other.run(files, tmp_path / "log.jsonl")


def test_a_journal_without_its_folder_is_refused(
    evaluation: Reconstruction, files: list[ImageFile], tmp_path: Path
) -> None:
    evaluation.run(files, tmp_path / "log.jsonl")
    module.part_path(tmp_path / "log.jsonl", 1).unlink()
    with pytest.raises(V2LError, match=r"log\.jsonl goes with"):
        evaluation.run(files, tmp_path / "log.jsonl")


def test_unreadable_files_are_counted_and_listed(
    evaluation: Reconstruction, files: list[ImageFile], tmp_path: Path
) -> None:
    bad = [tmp_path / f"{number}.jpg" for number in range(4)]
    for path in bad:
        path.write_text("no image")
    settings = ReconstructionSettings(64)
    mixed = Reconstruction(evaluation.pipeline, evaluation.methods, evaluation.metrics, settings).run(
        [*files[:3], *bad]
    )
    assert len(mixed.files) == 3
    assert sorted(file for file, _ in mixed.skipped) == [str(path) for path in bad]
    assert [entry["image"] for entry in report(mixed)["skipped"]] == [file for file, _ in mixed.skipped]


def test_fewer_than_two_photographs_are_refused(
    evaluation: Reconstruction, files: list[ImageFile], tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no image")
    with pytest.raises(V2LError, match="none of 1"):
        evaluation.run([tmp_path / "bad.jpg"])
    with pytest.raises(V2LError, match="at least 2"):
        evaluation.run(files[:1])


def test_originals_against_themselves_are_equal_in_every_figure(evaluation: Reconstruction) -> None:
    images = torch.rand(4, 3, 64, 64)
    figures = evaluation.metrics.figures(ReconstructedImages(images, [1.0] * 4), images)
    assert figures["psnr"] == figures["psnr_y"] == [PSNR_OF_EQUAL_IMAGES] * 4
    assert figures["ssim"] == pytest.approx([1.0] * 4)
    assert figures["perceptual"] == [0.0] * 4
    totals = Totals(10)
    features = evaluation.metrics.describe(images)
    totals.add({"same": features, module.ORIGINALS: features, "local_rows": torch.tensor([1, 1, 3])})
    assert totals.frechet()["same"] == pytest.approx(0, abs=1e-6)
    assert totals.usage.used == 2


def test_the_report_has_intervals_baselines_and_controls(result: ReconstructionResult) -> None:
    found = json.loads(json.dumps(report(result), allow_nan=False))
    low, high = found["metrics"]["psnr"]["interval"]
    assert low < found["metrics"]["psnr"]["value"] < high
    assert {REFERENCE_CODEC, "JPEG", SHRUNK, SHUFFLED} == found["baselines"].keys()
    assert found["baselines"][REFERENCE_CODEC]["psnr"]["minus_webp"] == {"value": 0.0, "interval": [0.0, 0.0]}
    own, others = (result.figures[row]["psnr"] for row in (OWN, SHUFFLED))
    difference = found["global_words"]["own_minus_shuffled"]["psnr"]["value"]
    assert difference == pytest.approx(sum(own) / 7 - sum(others) / 7)
    assert found["networks"]["perceptual"] == "lpips-squeeze"
    assert found["n"] == 7
    assert found["seed"] == 1


def test_people_read_every_row_and_are_warned_of_few_photographs(result: ReconstructionResult) -> None:
    text = page(result)
    assert all(row in text for row in result.figures)
    assert "lpips-squeeze" in text
    assert "n = 7, below 2,048" in text


def test_the_page_of_pictures_has_a_row_a_photograph(
    evaluation: Reconstruction, files: list[ImageFile], result: ReconstructionResult
) -> None:
    drawn = pictures(evaluation, files, result.files)
    assert drawn.shape[0] == 3
    assert drawn.shape[1] > 7 * 160
    assert drawn.shape[2] > 6 * 160
