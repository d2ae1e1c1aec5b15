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
from v2l.pipeline.image_words import WordSelection, read_image_words
from v2l.pipeline.pipeline import Pipeline
from v2l.tokenizers.grid.model import V2LTokenizer

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
def test_more_words_than_the_codebook_has_are_refused(samples: Path) -> None:
    result = CliRunner().invoke(app, ["words", str(samples / "hat" / "plaid.jpg"), "--count", "1000000"])
    assert result.exit_code == 1
    assert "1000000 words of a codebook" in result.stderr


@pytest.mark.embedded
def test_each_list_says_which_it_is_and_that_captions_read_the_other(run: Run, samples: Path) -> None:
    image = samples / "shoes" / "boots.jpg"
    nearest = run("words", image, "--json")
    together = run("words", image, "--selection", "together", "--count", 21, "--json")
    assert "--selection together" in nearest.stderr
    assert "as fewshot-classify reads them" in together.stderr
    lists = [[word["word"] for word in json.loads(result.stdout)["words"]] for result in (nearest, together)]
    assert lists[0][0] == lists[1][0]
    assert lists[0] != lists[1][:8]
    pipeline = Pipeline.load()
    shown = read_image_words(pipeline.tokenizer, [image], WordSelection(21, "together"))[image]
    assert lists[1] == list(shown.words)


def test_an_unknown_selection_is_refused(samples: Path) -> None:
    result = CliRunner().invoke(app, ["words", str(samples / "hat" / "plaid.jpg"), "--selection", "best"])
    assert result.exit_code == 1
    assert "allowed: together, nearest" in result.stderr


def test_an_unknown_tokenizer_is_refused_with_the_names_that_exist(samples: Path) -> None:
    for option in ("--tokenizer", "--checkpoint"):
        result = CliRunner().invoke(app, ["words", str(samples / "hat" / "plaid.jpg"), option, "setk"])
        assert result.exit_code == 1
        assert "there is no tokenizer 'setk'; allowed: v2l" in result.stderr


@pytest.mark.embedded
def test_the_network_runs_only_for_local_words(
    run: Run, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        V2LTokenizer, "features", lambda *_: pytest.fail("the CNN ran, and no local words were wanted")
    )
    assert run("words", samples / "shoes" / "boots.jpg").stdout


def test_the_grid_stands_in_columns() -> None:
    assert grid([["a", "long"], ["word", "b"]]) == "  a    long\n  word b"


@pytest.mark.embedded
def test_words_of_nothing_but_unreadable_files_fail_with_one_line(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["words", str(tmp_path / "missing.jpg"), "--json"])
    assert done.exit_code == 1
    assert done.stdout == ""
    assert "none of 1 file(s) could be read" in done.stderr
