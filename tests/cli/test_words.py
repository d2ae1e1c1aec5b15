"""v2l words: one line an image, for people or for programs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from v2l.cli.app import app
from v2l.cli.words import grid

Run = Callable[..., Result]


@pytest.mark.embedded
def test_json_has_words_and_the_grid_of_every_image(run: Run, samples: Path) -> None:
    images = [samples / "shoes" / "boots.jpg", samples / "hat" / "straw.jpg"]
    records = [
        json.loads(line)
        for line in run("words", *images, "--json", "--local", "--count", 5).stdout.splitlines()
    ]
    assert [record["image"] for record in records] == [str(image) for image in images]
    for record in records:
        scores = [word["score"] for word in record["words"]]
        assert len(scores) == 5
        assert scores == sorted(scores, reverse=True)
        assert all(
            -1 <= score <= 1.001 and word["ids"] for score, word in zip(scores, record["words"], strict=True)
        )
        assert len(record["local_ids"]) == len(record["local_ids"][0]) == 16
        assert {"encoder", "encoder_fingerprint", "llm", "llm_fingerprint", "checkpoint"} <= record[
            "stack"
        ].keys()


@pytest.mark.embedded
def test_the_words_name_what_is_there(run: Run, samples: Path) -> None:
    text = run("words", samples / "shoes").stdout.lower()
    assert len(text.splitlines()) == 4
    assert any(word in text for word in ("shoe", "boot", "sandal"))


@pytest.mark.embedded
def test_bad_files_of_a_folder_are_skipped_counted_and_listed(
    run: Run, samples: Path, tmp_path: Path
) -> None:
    shutil.copy(samples / "hat" / "plaid.jpg", tmp_path)
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "half.jpg").write_bytes((samples / "hat" / "straw.jpg").read_bytes()[:2000])
    result = run("words", tmp_path)
    assert len(result.stdout.splitlines()) == 1
    assert "skipped 2" in result.stderr
    assert "empty.jpg" in result.stderr
    assert "half.jpg" in result.stderr


@pytest.mark.embedded
def test_more_words_than_the_checkpoint_has_are_refused(samples: Path) -> None:
    result = CliRunner().invoke(app, ["words", str(samples / "hat" / "plaid.jpg"), "--count", "1000"])
    assert result.exit_code == 1
    assert "got --count 1000; allowed: 1 to" in result.stderr


def test_the_grid_stands_in_columns() -> None:
    assert grid([["a", "long"], ["word", "b"]]) == "  a    long\n  word b"


@pytest.mark.embedded
def test_words_of_nothing_but_unreadable_files_fail_with_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["words", str(tmp_path / "missing.jpg"), "--json"])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "none of 1 file(s) could be read" in done.stderr
