"""the code ──► generated parts of pages: the command line, the settings, the registered tokenizers.

A page has a comment where such a part goes, for example `<!-- generated: commands -->`.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from v2l.cli.app import app
from v2l.config import Config, config_to_dict, load_config
from v2l.tokenizers import registry

MARK = re.compile(r"<!-- generated: (\w+) -->")
HELP = "* `--help`: Show this message and exit.\n"  # the same for every command


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill in what the page's comments name."""
    return MARK.sub(lambda found: PARTS[found[1]](), markdown)


def commands() -> str:
    """Every command with its arguments and options, as typer writes them: a section each."""
    root = get_command(app)
    text = get_docs_for_click(obj=root, ctx=typer.Context(root), name="v2l", title="All commands")
    text = "#" + text.replace(HELP, "")  # the first heading is one of the page, as those of the commands are
    return re.sub(r"\*\*(Usage|Arguments|Options|Commands)\*\*:", r"**\1**", text)


def settings() -> str:
    """A table for each section of a config: key, default, the preset small, text."""
    small, plain = config_to_dict(load_config("small")), config_to_dict(Config())
    parts = []
    for section in dataclasses.fields(Config):
        rows = list(setting_rows(section.name, plain[section.name], small[section.name]))
        head = ["| setting | default | small | what it is |", "|:--|:--|:--|:--|"]
        parts.append("\n".join([f"## {section.name}", "", *head, *rows]))
    return "\n\n".join(parts)


def setting_rows(section: str, plain: dict[str, Any], small: dict[str, Any]) -> Iterator[str]:
    """The rows of one section; the cell of the preset is empty where it has the default."""
    for field in dataclasses.fields(getattr(Config(), section)):
        default, preset = plain[field.name], small[field.name]
        cells = [code(field.name), code(default), "" if preset == default else code(preset)]
        yield "| " + " | ".join([*cells, field.metadata["text"] + limits(field)]) + " |"


def code(value: Any) -> str:
    """A value in the type of code; nothing for an empty text."""
    return "" if value == "" else f"`{value}`"


def limits(field: dataclasses.Field[Any]) -> str:
    """The allowed values of a setting, where they are few or bounded."""
    if "options" in field.metadata:
        return f" One of {', '.join(f'`{option}`' for option in field.metadata['options'])}."
    if "low" in field.metadata:
        return f" From {field.metadata['low']:g} to {field.metadata['high']:g}."
    return ""


def tokenizers() -> str:
    """A table of the registered tokenizers."""
    rows = ["| `--tokenizer` | gives | a checkpoint ships |", "|:--|:--|:--|"]
    for name in registry.tokenizer_names():
        member = registry.member_named(name)
        rows.append(f"| `{name}` | {', '.join(member.gives)} | {'yes' if member.weights else 'no'} |")
    return "\n".join(rows)


PARTS: dict[str, Callable[[], str]] = {"commands": commands, "settings": settings, "tokenizers": tokenizers}
