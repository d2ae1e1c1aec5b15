"""Journals keep every finished item, and never mix two evaluations."""

from __future__ import annotations

from pathlib import Path

import pytest

from v2l.errors import V2LError
from v2l.evaluation.journal import Journal

FACTS = {"seed": 0, "sizes": (1, 2)}


def test_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Journal.open(tmp_path / "log.jsonl", FACTS)
    first.append({"item": 1})
    first.append({"item": 2})
    second = Journal.open(tmp_path / "log.jsonl", FACTS)
    assert second.records == [{"item": 1}, {"item": 2}]
    second.append({"item": 3})
    assert len(Journal.open(tmp_path / "log.jsonl", FACTS).records) == 3


@pytest.mark.parametrize("cut", [1, 5, 9])
def test_a_line_that_was_cut_short_is_done_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "log.jsonl"
    journal = Journal.open(path, FACTS)
    journal.append({"item": 1})
    journal.append({"item": 2})
    path.write_bytes(path.read_bytes()[:-cut])
    again = Journal.open(path, FACTS)
    again.append({"item": 2})
    assert Journal.open(path, FACTS).records == [{"item": 1}, {"item": 2}]


def test_other_settings_are_refused_with_both_values(tmp_path: Path) -> None:
    Journal.open(tmp_path / "log.jsonl", FACTS).append({"item": 1})
    with pytest.raises(V2LError, match=r"seed = 0.*has 1"):
        Journal.open(tmp_path / "log.jsonl", FACTS | {"seed": 1})
    assert len(Journal.open(tmp_path / "log.jsonl", FACTS).records) == 1


def test_another_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes\n")
    with pytest.raises(V2LError, match="no journal"):
        Journal.open(path, FACTS)
    assert path.read_text() == "my notes\n"


def test_without_a_file_it_stays_in_memory() -> None:
    journal = Journal.open(None, FACTS)
    journal.append({"item": 1})
    assert journal.records == [{"item": 1}]
