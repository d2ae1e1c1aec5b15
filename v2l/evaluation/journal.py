"""long evaluation ⇄ JSON lines: one record an item, so that a run that was stopped goes on behind the last of them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from v2l.errors import V2LError

Record = dict[str, Any]


@dataclass
class Journal:
    """The records of one evaluation, in the order in which they were made.

    Attributes:
        path: the file; None keeps the records in memory only.
        records: what is done already.
    """

    path: Path | None = None
    records: list[Record] = field(default_factory=list)

    @classmethod
    def open(cls, path: str | Path | None, facts: Record) -> Self:
        """Begin a journal, or go on with the one that is there; a last line that was cut short is dropped.

        Args:
            path: the file; None keeps the records in memory only.
            facts: settings, pipeline, data: what must be the same when an evaluation goes on.

        Raises:
            V2LError: the file is no journal, belongs to other facts, or cannot be written.
        """
        if path is None:
            return cls()
        path = Path(path)
        facts = json.loads(json.dumps(facts))  # tuples become lists, as in the file
        head, records = _read(path) if path.exists() else (None, [])
        if head is not None:
            _check_facts(path, head, facts)
        journal = cls(path, records)
        journal._write("w", [{"facts": facts}, *records])  # without a line that was cut short
        return journal

    def append(self, record: Record) -> None:
        """Keep one record; it is on disk when this returns.

        Raises:
            V2LError: the disk is full or cannot be written.
        """
        self.records.append(record)
        if self.path is not None:
            self._write("a", [record])

    def _write(self, mode: str, records: list[Record]) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open(mode, encoding="utf-8") as file:
                file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise V2LError(
                f"cannot write {self.path} ({error.strerror})", "a place with room that may be written"
            ) from error


def _read(path: Path) -> tuple[Record | None, list[Record]]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    whole = [line for line in lines if line.endswith("\n")]
    try:
        head, *records = [json.loads(line) for line in whole] or [None]
        return head and head["facts"], records
    except (ValueError, KeyError, TypeError) as error:
        raise V2LError(
            f"{path} is no journal of an evaluation",
            "a new file, or one that v2l evaluate wrote",
            "another --log",
        ) from error


def _check_facts(path: Path, old: Record, new: Record) -> None:
    before, now = dict(_leaves(old)), dict(_leaves(new))
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise V2LError(
                f"{path} was begun with {name} = {before.get(name)!r}, and this run has {now.get(name)!r}",
                "the same settings, images and models when an evaluation goes on",
                "another --log, or the settings of the first run",
            )


def _leaves(facts: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value that is no object, with the path of its name."""
    if not isinstance(facts, dict):
        yield name, facts
        return
    for key, value in facts.items():
        yield from _leaves(value, f"{name}.{key}" if name else key)
