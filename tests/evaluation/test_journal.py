"""Journals keep every finished item, and never mix two evaluations or two LLMs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_pipeline import tiny_pipeline

from v2l.errors import V2LError
from v2l.evaluation.journal import Journal, identify_llm
from v2l.llm.endpoint import Endpoint

METADATA = {"seed": 0, "sizes": (1, 2)}


def test_a_journal_continues_after_its_last_record(tmp_path: Path) -> None:
    first = Journal.open(tmp_path / "log.jsonl", METADATA)
    first.append({"item": 1})
    first.append({"item": 2})
    second = Journal.open(tmp_path / "log.jsonl", METADATA)
    assert second.records == [{"item": 1}, {"item": 2}]
    second.append({"item": 3})
    assert len(Journal.open(tmp_path / "log.jsonl", METADATA).records) == 3


@pytest.mark.parametrize("cut", [1, 5, 9])
def test_an_incomplete_line_is_dropped_and_made_again(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "log.jsonl"
    journal = Journal.open(path, METADATA)
    journal.append({"item": 1})
    journal.append({"item": 2})
    path.write_bytes(path.read_bytes()[:-cut])
    again = Journal.open(path, METADATA)
    again.append({"item": 2})
    assert Journal.open(path, METADATA).records == [{"item": 1}, {"item": 2}]


def test_other_settings_are_refused_with_both_values(tmp_path: Path) -> None:
    Journal.open(tmp_path / "log.jsonl", METADATA).append({"item": 1})
    with pytest.raises(V2LError, match=r"seed = 0.*has 1"):
        Journal.open(tmp_path / "log.jsonl", METADATA | {"seed": 1})
    assert len(Journal.open(tmp_path / "log.jsonl", METADATA).records) == 1


def test_a_file_that_is_no_journal_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("my notes\n")
    with pytest.raises(V2LError, match="no journal"):
        Journal.open(path, METADATA)
    assert path.read_text() == "my notes\n"


def test_opening_writes_nothing_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.jsonl"
    Journal.open(path, METADATA).append({"item": 1})
    before, inode = path.read_bytes(), path.stat().st_ino
    monkeypatch.setattr("v2l.evaluation.journal.Journal._write", None)  # not called
    assert Journal.open(path, METADATA).records == [{"item": 1}]
    assert (path.read_bytes(), path.stat().st_ino) == (before, inode)


def test_two_runs_do_not_mix_their_records(tmp_path: Path) -> None:
    first, second = (Journal.open(tmp_path / "log.jsonl", METADATA) for _ in range(2))
    first.append({"item": 1})
    with pytest.raises(V2LError, match="another run writes into"):
        second.append({"item": 1})
    first.append({"item": 2})
    assert Journal.open(tmp_path / "log.jsonl", METADATA).records == [{"item": 1}, {"item": 2}]


@pytest.mark.parametrize("text", ["line\u2028separator", "caf\udce9.jpg", "half an emoji \ud83d", "a\x85b"])
def test_any_text_comes_back(tmp_path: Path, text: str) -> None:
    for number in range(2):
        journal = Journal.open(tmp_path / "log.jsonl", METADATA | {"name": text})
        assert journal.records == [{"text": text}] * number
        journal.append({"text": text})


def test_notes_without_a_line_end_are_kept_and_half_a_head_begins_again(tmp_path: Path) -> None:
    notes, half = tmp_path / "notes.txt", tmp_path / "half.jsonl"
    notes.write_text("my notes")
    with pytest.raises(V2LError, match="no journal"):
        Journal.open(notes, METADATA)
    assert notes.read_text() == "my notes"
    half.write_text('{"fac')
    Journal.open(half, METADATA).append({"item": 1})
    assert Journal.open(half, METADATA).records == [{"item": 1}]


def test_without_a_file_the_records_stay_in_memory() -> None:
    journal = Journal.open(None, METADATA)
    journal.append({"item": 1})
    assert journal.records == [{"item": 1}]


FIRST = {"name": "smol", "weights_fingerprint": "1a", "adapter": None}


@pytest.mark.parametrize(
    ("now", "difference"),
    [
        ({"name": "large"}, "'smol' (weights 1a), and this run uses the LLM 'large' (weights 1a)"),
        ({"weights_fingerprint": "2b"}, "'smol' (weights 1a), and this run uses the LLM 'smol' (weights 2b)"),
        (
            {"adapter": "lora"},
            "'smol' (weights 1a), and this run uses the LLM 'smol' (weights 1a, adapter lora)",
        ),
    ],
)
def test_another_llm_is_refused_with_both_and_the_option_to_type(
    tmp_path: Path, now: dict[str, str], difference: str
) -> None:
    Journal.open(tmp_path / "log.jsonl", METADATA | {"llm": FIRST}).append({"item": 1})
    with pytest.raises(V2LError) as caught:
        Journal.open(tmp_path / "log.jsonl", METADATA | {"llm": FIRST | now})
    assert difference in str(caught.value)
    assert "--llm smol" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert Journal.open(tmp_path / "log.jsonl", METADATA | {"llm": FIRST}).records == [{"item": 1}]


def test_a_server_in_place_of_the_llm_is_refused_with_its_address(tmp_path: Path) -> None:
    server = {"name": "chat", "endpoint": "http://localhost:1/v1"}
    Journal.open(tmp_path / "log.jsonl", METADATA | {"llm": server}).append({"item": 1})
    with pytest.raises(V2LError, match=r"--endpoint http://localhost:1/v1 --endpoint-model chat"):
        Journal.open(tmp_path / "log.jsonl", METADATA | {"llm": FIRST})


def test_a_journal_of_an_older_version_that_names_no_llm_is_refused_in_one_line(tmp_path: Path) -> None:
    Journal.open(tmp_path / "log.jsonl", METADATA).append({"item": 1})
    with pytest.raises(V2LError, match=r"does not say which LLM made its records.*'smol' \(weights 1a\)"):
        Journal.open(tmp_path / "log.jsonl", METADATA | {"llm": FIRST})


def test_the_identity_of_an_llm_holds_name_weights_and_adapter() -> None:
    pipeline = tiny_pipeline()
    identity = identify_llm(pipeline)
    assert identity == {
        "name": "tiny",
        "weights_fingerprint": pipeline.llm.weights_fingerprint,
        "adapter": None,
    }
    assert identify_llm(pipeline, Endpoint("http://localhost:1/v1", "chat")) == {
        "name": "chat",
        "endpoint": "http://localhost:1/v1",
    }
