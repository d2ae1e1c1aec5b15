"""v2l evaluate vqa and semantics: questions and names from classes, beside baselines without an LLM."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from v2l.cli.app import app

Run = Callable[..., Result]


@pytest.mark.embedded
def test_four_answers_from_class_folders(run: Run, samples: Path) -> None:
    answer = run("evaluate", "vqa", samples, "--limit", 6, "--json")
    report = json.loads(answer.stdout)
    which = report["what is it, of four"]
    assert which["n"] == 6
    assert which["metrics"]["accuracy"]["value"] > which["baselines"]["chance"]["value"] == 0.25
    assert {"nearest text, no LLM", "chance"} == set(which["baselines"])
    assert len(which["answers"][0]["words"]) == 5
    assert "no WordNet ids" in answer.stderr


@pytest.mark.embedded
def test_kinds_from_wordnet_ids_and_unreadable_files(run: Run, samples: Path, tmp_path: Path) -> None:
    for number, name in [
        ("n03124170", "hat/straw"),
        ("n03594734", "pants/jeans"),
        ("n04133789", "shoes/sandals"),
    ]:
        shutil.copy(samples / f"{name}.jpg", tmp_path / f"{number}_{Path(name).name}.jpg")
    shutil.copy(
        samples / "dress" / "blue.jpg", tmp_path / "n02687172_aircraft_carrier.jpg"
    )  # named a vehicle
    (tmp_path / "n03770439_miniskirt.jpg").write_text("no image")
    answer = run("evaluate", "vqa", tmp_path)
    assert "is it ..., yes or no" in answer.stdout
    assert "Is it a vehicle? no (yes)" in answer.stdout
    assert "skipped 1 unreadable" in answer.stderr


def test_images_without_classes_are_one_line(samples: Path) -> None:
    answer = CliRunner().invoke(app, ["evaluate", "vqa", str(samples / "hat")])
    assert answer.exit_code == 1
    assert "the images state 0 classes" in answer.stderr.splitlines()[-1]


@pytest.mark.embedded
def test_semantics_counts_names_of_classes(run: Run, samples: Path) -> None:
    record = json.loads(run("evaluate", "semantics", samples, "--json").stdout)
    assert record["naming"]["ranking"] == "varied"
    assert record["naming"]["class_name_or_head"]["10"]["value"] > 0
    assert record["naming"]["words_of_another_image"]["1"]["value"] < 1
    assert "names were not looked for" in run("evaluate", "semantics", samples / "hat").stderr


def test_an_unknown_ranking_is_one_line(samples: Path) -> None:
    answer = CliRunner().invoke(app, ["evaluate", "semantics", str(samples), "--ranking", "best"])
    assert answer.exit_code == 1
    assert (
        "got the word ranking 'best'; allowed: distinct, varied, euclidean" in answer.stderr.splitlines()[-1]
    )


@pytest.mark.embedded
def test_yes_or_no_about_a_kind_is_scored(run: Run, samples: Path) -> None:
    boots = samples / "shoes" / "boots.jpg"
    found = {
        kind: json.loads(run("vqa", boots, f"Is it {kind}?", "--json").stdout)
        for kind in ("a shoe", "an animal")
    }
    assert found["a shoe"]["answer"] == "yes"
    assert found["a shoe"]["score"] > 0 > found["an animal"]["score"]
    assert json.loads(run("vqa", boots, "What is it?", "--json").stdout)["score"] is None
