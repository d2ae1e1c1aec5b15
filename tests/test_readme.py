"""The commands of README work as they are written."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from v2l.cli.app import COMMANDS as NAMES
from v2l.cli.app import app

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
LONG = {
    "build-codebook",
    "train",
}  # hours on a real data set: their own tests run them small; here their spelling is checked


def blocks(language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


def name_of(command: str) -> str:
    """The name of the v2l command in a line of README."""
    return next(word for word in shlex.split(command) if word in {*NAMES, "evaluate", "codebook"})


@pytest.fixture
def place(tmp_path: Path, root: Path, pipeline_loaded_once: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the sample photographs, where commands may write."""
    (tmp_path / "data").symlink_to(root / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.embedded
@pytest.mark.parametrize("command", [command for command in COMMANDS if name_of(command) not in LONG])
def test_commands_run(command: str, place: Path) -> None:
    program, *args = shlex.split(command)
    answer = CliRunner().invoke(app, args)
    assert program == "v2l"
    assert answer.exit_code == 0, answer.output
    assert answer.stdout.strip()
    for written in re.findall(r"-o (\S+)", command):
        assert (place / written).exists()
    if "--json" in args:
        assert all(json.loads(line) for line in answer.stdout.splitlines())


@pytest.mark.parametrize("command", [command for command in COMMANDS if name_of(command) in LONG])
def test_long_commands_are_spelt_right(command: str) -> None:
    answer = CliRunner().invoke(app, [*shlex.split(command)[1:], "--help"])
    options = re.findall(r"(?<= )--?[a-z-]+", command)
    assert answer.exit_code == 0
    assert all(option in README and option in answer.output for option in options if option != "--config")


@pytest.mark.embedded
def test_the_python_lines_run(place: Path) -> None:
    (source,) = blocks("python")
    exec(compile(source, "README.md", "exec"), {})
    assert (place / "out" / "filled.png").is_file()


def test_every_target_of_make_exists(root: Path) -> None:
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^    make ([a-z-]+)", README, flags=re.MULTILINE))
    assert targets
    assert all(f"\n{target}:" in makefile for target in targets)


def test_links_lead_somewhere(root: Path) -> None:
    local = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert local
    assert all((root / link).exists() for link in local)
