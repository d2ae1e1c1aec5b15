"""What a user gets wrong is one line on standard error and exit code 1, never a traceback, never a
half-written file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from v2l.cli.app import app
from v2l.cli.restore.inpaint import corners
from v2l.errors import V2LError
from v2l.pipeline.pipeline import Pipeline


def refused(*args: object) -> str:
    """The one line that a command is refused with."""
    answer = CliRunner().invoke(app, [str(arg) for arg in args])
    assert answer.exit_code == 1, answer.output
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    assert line.startswith("v2l: ")
    return line


@pytest.fixture
def photograph(samples: Path) -> Path:
    """A photograph of 224 × 267 pixels."""
    return samples / "pants" / "tartan.jpg"


@pytest.mark.parametrize("command", ["reconstruct", "inpaint"])
def test_a_missing_file_is_named(command: str, tmp_path: Path) -> None:
    assert "nowhere.jpg" in refused(command, tmp_path / "nowhere.jpg", "-o", tmp_path / "out.png")
    assert not list(tmp_path.iterdir())


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.jpg").write_text("a shopping list", encoding="utf-8")
    assert "notes.jpg" in refused("inpaint", tmp_path / "notes.jpg")


@pytest.mark.parametrize(
    ("mask", "part"),
    [
        (("--box", "0,0,10"), "four whole numbers"),
        (("--box", "0,0,9999,10"), "inside the image"),
        (("--box", "0,0,10,10", "--centre"), "more than one"),
        (("--mask", "nowhere.png"), "nowhere.png"),
    ],
)
def test_a_wrong_mask_is_refused(mask: tuple[str, ...], part: str, photograph: Path) -> None:
    assert part in refused("inpaint", photograph, *mask)


def test_a_mask_of_another_size_is_refused(photograph: Path, samples: Path) -> None:
    assert "pixels" in refused("inpaint", photograph, "--mask", samples / "hat" / "straw.jpg")


@pytest.mark.parametrize(
    "command", [("train", "data/samples"), ("build-codebook", "--images", "data/samples")]
)
def test_an_unknown_config_key_is_refused(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("training:\n  learning_rat: 0.1\n", encoding="utf-8")
    line = refused(*command, "--config", tmp_path / "mine.yaml", "-o", tmp_path / "out")
    assert "learning_rat" in line
    assert "learning_rate" in line


@pytest.mark.parametrize(
    "command", [("train",), ("build-codebook", "--images"), ("words",), ("fewshot-classify",)]
)
def test_a_folder_without_images_is_refused(command: tuple[str, ...], tmp_path: Path) -> None:
    assert str(tmp_path) in refused(*command, tmp_path)


def test_a_missing_checkpoint_is_named(photograph: Path) -> None:
    assert "nowhere" in refused("inpaint", photograph, "--checkpoint", "nowhere")


@pytest.mark.parametrize(
    "command",
    [
        ("fewshot-classify",),
        ("evaluate", "fewshot"),
        ("prompt", "IMAGE", "--task", "classify", "--support"),
    ],
    ids=["fewshot-classify", "evaluate fewshot", "prompt"],
)
def test_an_archive_of_class_folders_is_refused(
    command: tuple[str, ...], photograph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "classes.zip", "w") as packed:
        packed.write(photograph, "hat/0.jpg")
    monkeypatch.setattr(Pipeline, "load", lambda *_, **__: None)  # not used
    line = refused(*[photograph if part == "IMAGE" else part for part in command], tmp_path / "classes.zip")
    assert "classes.zip is an archive" in line
    assert f"try: unzip {tmp_path / 'classes.zip'} -d {tmp_path / 'classes'}" in line


def test_corners_are_four_numbers() -> None:
    assert corners("1,2,3,4") == (1, 2, 3, 4)
    with pytest.raises(V2LError, match="four whole numbers"):
        corners("1,2,3,x")


@pytest.mark.parametrize("name", ["notes.md", pytest.param("bad.png", marks=pytest.mark.embedded)])
def test_strict_makes_an_error_of_what_is_left_out(name: str, samples: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr(name, "text")
        packed.write(samples / "hat" / "straw.jpg", "straw.jpg")
    line = refused("words", tmp_path / "a.zip", "--strict")
    assert name in line
