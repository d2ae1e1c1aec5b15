"""a JSON file, a list of objects or one object a line ──► its objects, each with its first line number."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from v2l.errors import V2LError

SPACE = re.compile(r"\s*")
BETWEEN = re.compile(r"[\s,\[\]]*")  # between two objects of a list whose syntax is checked already


@dataclass(frozen=True)
class Entry:
    """One object of a file.

    Attributes:
        where: the file and the line, for people.
        folder: the folder of the file; paths in it are relative to this.
        values: the object.
    """

    where: str
    folder: Path
    values: dict[str, Any]

    def text(self, key: str) -> str:
        """The text under a key.

        Raises:
            V2LError: the text is missing or empty, or is of another type.
        """
        value = self.values.get(key)
        if not isinstance(value, str) or not value.strip():
            got = f"holds {value!r}" if key in self.values else "is missing"
            raise V2LError(f"{self.where}: the key {key!r} {got}", "a text that is not empty")
        return " ".join(value.split())

    def texts(self, key: str) -> tuple[str, ...]:
        """The list of texts under a key.

        Raises:
            V2LError: the list is empty, or something is of another type.
        """
        value = self.values[key]
        if (
            not isinstance(value, list)
            or not value
            or not all(isinstance(text, str) and text.strip() for text in value)
        ):
            raise V2LError(
                f"{self.where}: the key {key!r} holds {value!r}", "a list of texts, none of them empty"
            )
        return tuple(value)

    def path(self, key: str) -> Path:
        """The path under a key, relative to the file.

        Raises:
            V2LError: the text is missing or empty, or is of another type.
        """
        self.text(key)
        return self.folder / str(self.values[key])


def read_entries(path: str | Path) -> list[Entry]:
    """Read the objects of a file.

    Args:
        path: JSON, a list of objects or one object a line.

    Raises:
        V2LError: there is no such file, or it holds something else; the error has the line.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise V2LError(
            f"cannot read {path} ({error})", "a JSON file in UTF-8", f"ls {path.parent}"
        ) from error
    entries = [_entry(path, line, value) for line, value in _values(path, text)]
    if not entries:
        raise V2LError(f"{path} holds no entry", "a JSON list of objects, or one object a line")
    return entries


def _values(path: Path, text: str) -> list[tuple[int, Any]]:
    """The values of a list or of lines, each with its line number."""
    found: list[tuple[int, Any]] = []
    decoder, line, end = json.JSONDecoder(), 1, 0
    try:
        listed = text.lstrip().startswith("[") and json.loads(text) is not None  # checks commas and brackets
        gap = BETWEEN if listed else SPACE
        while (place := _after(gap, text, end)) < len(text):
            line += text.count("\n", end, place)
            value, end = decoder.raw_decode(text, place)
            found.append((line, value))
            line += text.count("\n", place, end)
    except json.JSONDecodeError as error:
        raise V2LError(
            f"{path}, line {error.lineno}: no JSON ({error.msg})",
            "a JSON list of objects, or one object a line",
        ) from error
    except RecursionError as error:
        raise V2LError(
            f"{path} is nested too deeply", "a JSON list of objects, or one object a line"
        ) from error
    return found


def _after(gap: re.Pattern[str], text: str, place: int) -> int:
    """The place after what may be between two values."""
    found = gap.match(text, place)
    return found.end() if found else place


def _entry(path: Path, line: int, value: Any) -> Entry:
    where = f"{path}, line {line}"
    if not isinstance(value, dict):
        raise V2LError(f"{where}: got {json.dumps(value)[:60]}", 'an object like {"image": "boots.jpg", …}')
    return Entry(where, path.parent, value)
