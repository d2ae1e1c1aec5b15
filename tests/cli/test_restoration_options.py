"""Options of the five restoration commands: one definition for all, and the old spellings are accepted."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from v2l.cli.app import app
from v2l.cli.restore.options import build_settings, preset_name
from v2l.errors import V2LError
from v2l.tasks.restoration.settings import RENAMED

SHARED = {
    *("--output", "--page", "--tokens", "--temperature", "--prompt", "--set", "--examples", "--protocol"),
    *("--adapter", "--llm", "--json"),
}
OWN = {
    "inpaint": {"--mask", "--box", "--centre", "--candidates", "--order", "--tiles"},
    "outpaint": {"--left", "--top", "--right", "--bottom", "--candidates", "--order", "--tiles"},
    "deblur": {"--kernel", "--tiles"},
    "unshift": {"--by"},
    "unrotate": {"--quarters"},
}


def flags(command: str) -> set[str]:
    """The long options of a command."""
    found = get_command(app).commands[command]  # type: ignore[attr-defined]  # the root is a group
    return {flag for option in found.params for flag in option.opts if flag.startswith("--")} - {"--help"}


@pytest.mark.parametrize("command", OWN)
def test_a_command_has_the_shared_options_and_its_own(command: str) -> None:
    checkpoint = {"--checkpoint", "--tokenizer", "--adapter-in"}
    assert flags(command) - checkpoint == SHARED | OWN[command]
    assert flags(command) & checkpoint


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("inpaint", "inpainted.png"),
        ("outpaint", "outpainted.png"),
        ("deblur", "deblurred.png"),
        ("unshift", "unshifted.png"),
        ("unrotate", "unrotated.png"),
    ],
)
def test_a_command_writes_a_file_of_its_own_name(command: str, file: str) -> None:
    params = get_command(app).commands[command].params  # type: ignore[attr-defined]  # the root is a group
    (target,) = (option for option in params if option.name == "target")
    assert target.default == Path(file)


@pytest.mark.parametrize("command", OWN)
def test_the_photograph_comes_first_and_help_shows_every_option(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    assert "IMAGE" in result.stdout
    assert "--levers" not in result.stdout
    assert all(flag in result.stdout for flag in flags(command))


@pytest.mark.parametrize(
    ("old", "value"),
    [
        ("palette=7", 7),
        ("trust=2.5", 2.5),
        ("candidates=1", 1),
        ("above=2", 2),
        ("reading=map", "map"),
    ],
)
def test_set_accepts_an_old_name_with_one_line_on_stderr(
    old: str, value: object, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    name, _, _ = old.partition("=")
    settings = build_settings({}, [old])
    assert getattr(settings, RENAMED[name]) == value
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert out == ""
    assert line.startswith(f"v2l: the setting {name} is called {RENAMED[name]} now")
    assert not recwarn.list


def test_set_with_new_names_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert build_settings({}, ["num_candidates=7"]).num_candidates == 7
    assert capsys.readouterr() == ("", "")


def test_an_unknown_name_of_set_lists_only_the_new_names() -> None:
    with pytest.raises(V2LError, match="num_candidates=") as error:
        build_settings({}, ["charm=3"])
    assert "palette" not in str(error.value)


def test_levers_chooses_the_preset_with_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert preset_name(None, "fast") == "fast"
    (line,) = capsys.readouterr().err.splitlines()
    assert "--levers is called --settings now" in line


def test_settings_wins_over_levers_and_is_silent_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert preset_name("strong", None) == "strong"
    assert capsys.readouterr().err == ""
    assert preset_name("strong", "fast") == "strong"


def test_evaluate_restoration_accepts_the_hidden_levers(
    samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(samples.parents[1])
    command = ["evaluate", "restoration", "data/samples", "--levers", "golden"]
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == 1
    note, error = answer.stderr.splitlines()
    assert "--levers is called --settings now" in note
    assert "plain, blind, adapter, fast, strong" in error
    shown = CliRunner().invoke(app, ["evaluate", "restoration", "--help"], env={"COLUMNS": "200"}).stdout
    assert "--settings" in shown
    assert "--levers" not in shown
