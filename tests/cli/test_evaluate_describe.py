"""v2l evaluate describe: captions and answers with intervals and baselines, and a journal to go on from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from v2l.cli.app import app

Run = Callable[..., Result]


@pytest.mark.embedded
def test_captions_and_answers_in_one_report(run: Run, samples: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no image")
    question = {"image": str(samples / "pants" / "jeans.jpg"), "question": "What is it?", "answer": "Jeans"}
    (tmp_path / "q.json").write_text(json.dumps([question]))
    places = (samples / "pants" / "jeans.jpg", samples / "shoes" / "boots.jpg", tmp_path / "bad.jpg")
    args = (
        "evaluate",
        "describe",
        *places,
        "--questions",
        tmp_path / "q.json",
        "--log",
        tmp_path / "log.jsonl",
    )
    answer = run(*args, "--json", "--seed", 3)
    report = json.loads(answer.stdout)
    assert report["seed"] == 3
    assert report["captions"]["n"] == 2
    assert report["captions"]["metrics"]["difference"]["value"] > 0
    assert report["answers"]["metrics"]["exact_match"]["value"] == 1
    assert "bad.jpg" in answer.stderr
    assert (tmp_path / "log-answers.jsonl").is_file()
    assert "distinct-2" in run(*args, "--seed", 3).stdout


def test_what_cannot_be_measured_is_one_line(samples: Path, tmp_path: Path) -> None:
    for args, part in [
        ((), "nothing to describe"),
        ((tmp_path,), str(tmp_path)),
        (("--questions", tmp_path / "gone.json"), "gone.json"),
        ((samples, "--prompt", "haiku"), "paper, tuned"),
    ]:
        answer = CliRunner().invoke(app, ["evaluate", "describe", *map(str, args)])
        assert answer.exit_code == 1, answer.output
        assert answer.stdout == ""
        assert part in answer.stderr.splitlines()[-1]
