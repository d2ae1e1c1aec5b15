"""docs/reproducing.md: every command of v2l that it shows exists, and the table of switches is that of the
preset."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from v2l.cli.app import app
from v2l.config import Config, config_to_dict, load_config

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "reproducing.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("v2l ", 1)[1] for line in PAGE.splitlines() if re.match(r"    (v2l |.* -m v2l )", line)
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists(command: str) -> None:
    command_line = typer.main.get_command(app)
    known = {option for parameter in command_line.params for option in parameter.opts}
    for word in shlex.split(command):
        if word in getattr(command_line, "commands", {}):
            command_line = command_line.commands[word]
            known |= {option for parameter in command_line.params for option in parameter.opts}
    used = set(re.findall(r"(?<= )--?[a-z-]+", " " + command))
    assert not hasattr(command_line, "commands"), f"{command} names no command"
    assert used <= known


def test_the_page_names_every_switch_of_the_official_model() -> None:
    official, ours = config_to_dict(load_config("official")), config_to_dict(Config())
    switched = {
        f"{section}.{key}"
        for section in ("model", "codebook")
        for key in ours[section]
        if official[section][key] != ours[section][key]
    }
    named = set(re.findall(r"`((?:model|codebook)\.\w+)`", PAGE))
    assert switched - {"codebook.min_count"} <= named
