"""v2l evaluate reconstruction: figures of a whole folder, a page of pictures, and a journal to go on from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from v2l.cli.app import app
from v2l.images import load_image

Run = Callable[..., Result]


@pytest.mark.embedded
def test_the_report_and_the_page(run: Run, samples: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no image")
    places = (samples / "hat", tmp_path / "bad.jpg")
    args = ("evaluate", "reconstruction", *places, "--size", 64, "--log", tmp_path / "log.jsonl", "--json")
    answer = run(*args, "-o", tmp_path / "page.png", "--seed", 3)
    report = json.loads(answer.stdout)
    assert report["n"] == 4
    assert report["seed"] == 3
    assert report["metrics"]["psnr"]["value"] > 15
    assert report["networks"] == {"perceptual": "efficientnet-lite2", "fd_effnet": "efficientnet-lite2"}
    assert 0 < report["usage"]["used"] <= 4 * 64
    assert "bad.jpg" in answer.stderr
    assert load_image(tmp_path / "page.png").shape[0] == 3
    assert json.loads(run("--seed", 3, *args).stdout) == report


def refused(*args: object) -> str:
    """The one line of the error."""
    answer = CliRunner().invoke(app, ["evaluate", "reconstruction", *map(str, args)])
    assert answer.exit_code == 1, answer.output
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    return line.removeprefix("v2l: ")


def test_what_cannot_be_measured_is_one_line(samples: Path, tmp_path: Path) -> None:
    assert str(tmp_path) in refused(tmp_path)
    assert "nowhere" in refused("nowhere")
    assert ".xyz" in refused(samples, "-o", tmp_path / "page.xyz")
    assert "nowhere" in refused(samples, "--checkpoint", "nowhere")
    assert "--size 128" in refused(samples, "--size", 100)
