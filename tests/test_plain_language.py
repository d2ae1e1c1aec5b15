"""Code and documents use the field's words: no word of a private dialect, and no line that is too long to
read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BANNED = ("told", "tell", "tells", "telling", "lever", "levers", "may stand", "verb", "verbs")
DIALECT = re.compile(rf"\b({'|'.join(BANNED)})\b", re.IGNORECASE)
# Deprecated options, keys of files that older versions wrote, and the wording of a prompt that was measured.
ALLOWED = (".tell()", "--levers", '"told"', "'told'", "words tell what is in the photo")
MAX_COLUMNS = 110


def code() -> list[Path]:
    """Every module of the package and of the command line."""
    return sorted([*(ROOT / "v2l").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])


def documents() -> list[Path]:
    """README, the pages of docs/ and the presets; docs/experiments keeps the words of its time."""
    pages = [path for path in (ROOT / "docs").rglob("*.md") if "experiments" not in path.parts]
    return sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *pages, *(ROOT / "configs").glob("*.yaml")])


def dialect(path: Path) -> list[str]:
    """The lines of a file that use a banned word, with their numbers."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for number, line in enumerate(lines, start=1)
        if DIALECT.search(line) and not any(text in line for text in ALLOWED)
    ]


@pytest.mark.parametrize("path", [*code(), *documents()], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_plain_words(path: Path) -> None:
    assert dialect(path) == []


@pytest.mark.parametrize("path", code(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_lines_fit_a_screen(path: Path) -> None:
    long = [
        number
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if len(line) > MAX_COLUMNS
    ]
    assert long == [], f"{path.relative_to(ROOT)}: lines {long} are longer than {MAX_COLUMNS} columns"
