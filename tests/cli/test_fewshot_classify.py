"""v2l fewshot-classify: accuracy beside its baselines, or a label for each of the user's own queries."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from v2l.cli.app import app
from v2l.cli.classify.options import change_method
from v2l.errors import V2LError
from v2l.tasks.classification.fewshot import PROTOCOLS

Run = Callable[..., Result]


@pytest.mark.embedded
def test_the_report_has_baselines_and_predictions_and_saved_episodes_repeat_it(
    run: Run, samples: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "episodes.jsonl"
    drawn = ("--n-ways", 2, "--k-shots", 1, "--episodes", 4, "--seed", 3, "--save-episodes", saved)
    report = json.loads(run("fewshot-classify", samples, *drawn, "--json").stdout)
    assert report["n"] == len(report["predictions"]) == 4
    assert report["seed"] == 3
    assert report["baselines"]["chance"]["value"] == 0.5
    low, high = report["accuracy"]["interval"]
    assert 0 <= low <= report["accuracy"]["value"] <= high <= 1
    right = sum(prediction["label"] == prediction["truth"] for prediction in report["predictions"])
    assert report["accuracy"]["value"] == pytest.approx(right / 4)
    again = json.loads(
        run("fewshot-classify", samples, "--episodes-from", saved, "--seed", 3, "--json").stdout
    )
    assert again == report


@pytest.mark.embedded
@pytest.mark.parametrize("protocol", ["paper", "official"])
def test_the_paper_and_official_protocols_use_generated_text(run: Run, samples: Path, protocol: str) -> None:
    report = json.loads(
        run("fewshot-classify", samples, "--episodes", 2, "--protocol", protocol, "--json").stdout
    )
    assert report["protocol"] == protocol
    assert report["settings"]["method"]["words"] == {"count": 5, "how": "nearest"}
    assert all(isinstance(prediction["text"], str) for prediction in report["predictions"])


@pytest.mark.embedded
def test_queries_of_no_known_class_get_their_labels_and_unreadable_files_are_listed(
    run: Run, samples: Path, tmp_path: Path
) -> None:
    for label in ("hat", "shoes"):
        (tmp_path / "support" / label).mkdir(parents=True)
        first, second, *_ = sorted((samples / label).iterdir())
        shutil.copy(first, tmp_path / "support" / label)
        (tmp_path / "query").mkdir(exist_ok=True)
        shutil.copy(second, tmp_path / "query" / f"{label}.jpg")
    (tmp_path / "support" / "hat" / "broken.jpg").write_text("no image", encoding="utf-8")
    report = json.loads(run("fewshot-classify", tmp_path, "--json").stdout)
    assert [prediction["label"] in {"hat", "shoes"} for prediction in report["predictions"]] == [True, True]
    assert [Path(file["image"]).name for file in report["skipped"]] == ["broken.jpg"]
    lines = run("fewshot-classify", tmp_path).stdout.splitlines()
    assert all(line.endswith((": hat", ": shoes")) for line in lines)


def test_options_change_single_settings_of_a_protocol() -> None:
    changed = change_method(
        "paper", rule="constrained", count=21, how=None, wording=None, induction=False, repeats=3, orders=None
    )
    assert (changed.protocol, changed.rule, changed.words.count, changed.words.how) == (
        "paper",
        "constrained",
        21,
        "nearest",
    )
    assert (changed.format.wording, changed.format.induction, changed.format.repeats) == ("paper", False, 3)
    assert change_method("default") == PROTOCOLS["default"]


@pytest.mark.parametrize(
    "change",
    [{"rule": "coin"}, {"count": 0}, {"how": "far"}, {"wording": "haiku"}, {"repeats": -1}, {"orders": 0}],
)
def test_invalid_options_are_refused(change: dict) -> None:
    with pytest.raises(V2LError):
        change_method("default", **change)


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (("--n-ways", "9"), "4 class(es) for 9-way"),
        (("--k-shots", "4"), "at least 5 for 4-shot"),
        (("--protocol", "secret"), "default, paper, official"),
        (("--episodes-from", "nowhere.jsonl"), "nowhere.jsonl"),
        (("--part", "half"), "train, eval, all"),
    ],
)
def test_invalid_requests_are_one_line_before_any_model_is_loaded(
    samples: Path, options: tuple[str, str], part: str
) -> None:
    answer = CliRunner().invoke(app, ["fewshot-classify", str(samples), *options])
    assert answer.exit_code == 1
    (line,) = answer.stderr.splitlines()
    assert part in line
