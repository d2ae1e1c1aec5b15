"""v2l fewshot-classify: accuracy beside its baselines, or a label for each of the user's own queries."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Run = Callable[..., Result]


@pytest.mark.embedded
def test_the_report_has_baselines_and_every_prediction(run: Run, samples: Path) -> None:
    arguments = ("fewshot-classify", samples, "--n-ways", 2, "--k-shots", 1, "--episodes", 4, "--seed", 3)
    report = json.loads(run(*arguments, "--json").stdout)
    assert report["n"] == len(report["predictions"]) == 4
    assert report["seed"] == 3
    assert report["baselines"]["chance"]["value"] == 0.5
    low, high = report["accuracy"]["interval"]
    assert 0 <= low <= report["accuracy"]["value"] <= high <= 1
    right = sum(prediction["label"] == prediction["truth"] for prediction in report["predictions"])
    assert report["accuracy"]["value"] == pytest.approx(right / 4)
    assert json.loads(run(*arguments, "--json").stdout) == report


@pytest.mark.embedded
def test_queries_of_no_known_class_get_their_labels(run: Run, samples: Path, tmp_path: Path) -> None:
    for label in ("hat", "shoes"):
        (tmp_path / "support" / label).mkdir(parents=True)
        first, second, *_ = sorted((samples / label).iterdir())
        shutil.copy(first, tmp_path / "support" / label)
        (tmp_path / "query").mkdir(exist_ok=True)
        shutil.copy(second, tmp_path / "query" / f"{label}.jpg")
    lines = run("fewshot-classify", tmp_path).stdout.splitlines()
    assert len(lines) == 2
    assert all(line.endswith((": hat", ": shoes")) for line in lines)
