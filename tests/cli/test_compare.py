"""v2l common, difference, story and train-adapter refuse bad input in one line, before a model is loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from v2l.cli.app import app


def refused(*args: object) -> str:
    """The one line of a command that fails."""
    done = CliRunner().invoke(app, [str(arg) for arg in args])
    assert done.exit_code == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("command", ["common", "story"])
def test_one_image_is_refused(samples: Path, command: str) -> None:
    assert "got 1 image; allowed: 2 images and more" in refused(command, samples / "hat" / "straw.jpg")


def test_an_adapter_that_does_not_exist_and_a_wrong_number_of_tokens_are_refused(samples: Path) -> None:
    assert "allowed: resampler, projector, sea" in refused("train-adapter", samples, "--adapter", "mlp")
    assert "a square number" in refused("train-adapter", samples, "--tokens", 5)
    assert "--adapter sea" in refused("train-adapter", samples, "--align", 0.5)


def test_a_caption_file_without_images_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "captions.csv"
    source.write_text("image,caption\ngone.jpg,A cat\n", encoding="utf-8")
    assert "no image with a caption: 1 missing image(s)" in refused("train-adapter", source)


def test_sets_that_cannot_be_drawn_or_read_are_refused(samples: Path, tmp_path: Path) -> None:
    target = tmp_path / "sets"
    refused_line = refused("make-sets", samples, "-o", target, "--others", 1000)
    assert "v2l: " in refused_line
    assert not target.exists()
    assert "manifest.json" in refused("train-sam", tmp_path)


def test_a_restorer_with_an_unknown_body_is_refused(samples: Path) -> None:
    assert "allowed: llm, shuffled, transformer, linear" in refused(
        "train-restorer", samples, "--body", "gpt"
    )
    line = refused("evaluate", "restoration", samples, "--restorer", "runs/restorer/restorer")
    assert "--protocol blind" in line


def test_sets_are_made_by_the_command(samples: Path, tmp_path: Path) -> None:
    args = [
        "make-sets",
        samples,
        "-o",
        tmp_path / "sets",
        "--groups",
        1,
        "--sharing",
        2,
        "--pairs",
        1,
        "--sequences",
        1,
    ]
    done = CliRunner().invoke(app, [*map(str, args), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["sets"] == 3
