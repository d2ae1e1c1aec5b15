"""A picture as a sentence on the command line: words, token files, training and conversion, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
import yaml
from tiny_titok import TINY, tiny_titok
from tiny_tokenizer import tiny_tokenizer
from typer.testing import CliRunner, Result

from v2l.cli.app import app
from v2l.cli.evaluate.tokenizers import load_all
from v2l.cli.output import output
from v2l.images import load_image, save_image


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("titok") / "model"
    tiny_titok().save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def tiny_grid_ships(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("v2l.tokenizers.latents.frozen_grid.load_tokenizer", lambda *_: tiny_tokenizer())
    monkeypatch.setenv("V2L_HOME", str(tmp_path / "cache"))


def call(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


def refused(*args: object) -> str:
    """The line of the error, after whatever notes come before it."""
    answer = call(*args)
    assert answer.exit_code == 1, answer.output
    assert answer.stdout == ""
    return answer.stderr.splitlines()[-1]


def test_words_prints_the_sentence_in_its_order(samples: Path, model: Path) -> None:
    photograph = samples / "hat" / "straw.jpg"
    text = call("words", photograph, "--tokenizer", f"{model}:4")
    assert text.exit_code == 0, text.output
    record = json.loads(call("words", photograph, "--tokenizer", f"{model}:4", "--json").stdout)
    words = [word["word"] for word in record["words"]]
    assert len(words) == 4
    assert text.stdout.startswith(f"{photograph}: {' '.join(words)}")
    assert record["selection"] == "sentence"


def test_each_model_and_each_length_has_its_own_row(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("v2l.tokenizers.registry.tokenizer_names", lambda *_: ())  # none that ships
    other = shutil.copytree(model, tmp_path / "other")

    def rows(*chosen: str) -> list[str]:
        with output(as_json=False) as out:
            return list(load_all(list(chosen), "cpu", out))

    lengths = [f"titok, {length} tokens" for length in (2, 4, 8)]
    assert rows(str(model), f"{other}:4") == [*lengths, f"titok, {other}, 4 tokens"]
    assert rows(f"{model}:2", f"{model}:8") == [lengths[0], lengths[2]]


def test_a_photograph_goes_through_a_file_of_four_codes(samples: Path, model: Path, tmp_path: Path) -> None:
    photograph, file, picture = samples / "hat" / "straw.jpg", tmp_path / "t.v2l", tmp_path / "q.png"
    written = json.loads(call("encode", photograph, "-o", file, "--tokenizer", f"{model}:4", "--json").stdout)
    assert written["tokens"] == 4
    assert call("decode", file, "-o", picture, "--tokenizer", model).exit_code == 0
    assert load_image(picture).shape == load_image(photograph).shape


def test_a_token_file_of_another_checkpoint_is_refused(samples: Path, model: Path, tmp_path: Path) -> None:
    tiny_titok(seed=3, fitted=False).save_pretrained(tmp_path / "other")
    assert call(
        "encode", samples / "hat" / "straw.jpg", "-o", tmp_path / "t.v2l", "--tokenizer", model
    ).stdout
    line = refused("decode", tmp_path / "t.v2l", "-o", tmp_path / "q.png", "--tokenizer", tmp_path / "other")
    assert "the same checkpoint" in line
    assert not (tmp_path / "q.png").exists()


def test_a_length_that_the_model_does_not_have_is_refused(samples: Path, model: Path, tmp_path: Path) -> None:
    line = refused(
        "encode", samples / "hat" / "straw.jpg", "-o", tmp_path / "t.v2l", "--tokenizer", f"{model}:5"
    )
    assert "no length of 5 codes; allowed: 2, 4, 8" in line
    assert not (tmp_path / "t.v2l").exists()


def test_an_image_of_one_colour_has_a_sentence(model: Path, tmp_path: Path) -> None:
    save_image(torch.full((3, 40, 40), 0.5), tmp_path / "grey.png")
    answer = call("words", tmp_path / "grey.png", "--tokenizer", model)
    assert answer.exit_code == 0, answer.output
    assert "little to see" in answer.stdout


def test_commands_that_need_words_with_a_meaning_refuse_it(samples: Path, model: Path) -> None:
    line = refused("caption", samples / "hat" / "straw.jpg", "--tokenizer", model)
    assert "words for a whole image" in line


def test_too_few_photographs_and_missing_files_are_refused(samples: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    tiny = tmp_path / "tiny.yaml"
    network = {**asdict(TINY), "lengths": [2, 4, 8], "pixel_levels": [1, 2]}
    tiny.write_text(yaml.safe_dump({"network": network, "training": {"perceptual": "none"}}))
    assert "at least 16" in refused("--config", tiny, "train-titok", samples / "hat", "-o", run)
    assert "no preset of titok" in refused("--config", "huge", "train-titok", samples / "hat", "-o", run)
    assert not run.exists()
    assert "there is no file" in refused("convert-titok", tmp_path / "t.bin", "-o", tmp_path / "out")
    (tmp_path / "t.bin").write_bytes(b"nothing")
    assert "truncated or of another kind" in refused("convert-titok", tmp_path / "t.bin", "-o", run)
