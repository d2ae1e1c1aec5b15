"""v2l tokenize and v2l detokenize, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_pictures import picture
from tiny_words_tokenizer import QuarterTokenizer
from typer.testing import CliRunner

from v2l.cli.app import app


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenize")
    QuarterTokenizer().save_pretrained(folder / "quarters")
    (folder / "pictures").mkdir()
    for number in range(3):
        (folder / "pictures" / f"{number}.png").write_bytes(picture(number))
    (folder / "pictures" / "cut.png").write_bytes(picture(0)[:50])
    return folder


def test_a_folder_becomes_tokens_and_bad_images_are_counted(place: Path) -> None:
    out = place / "out"
    options = ["-o", str(out), "--tokenizer", str(place / "quarters"), "--workers", "0"]
    command = ["tokenize", str(place / "pictures"), *options]
    result = CliRunner().invoke(app, [*command, "--verify", "--json"])
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    assert (record["images"], record["reasons"], record["verified"]) == (3, {"unreadable": 1}, 3)
    again = CliRunner().invoke(app, command)
    assert "3 images in 1 shard(s) (1 were there)" in again.stdout
    assert "errors: 1 unreadable" in again.stdout
    refused = CliRunner().invoke(app, [*command, "--format", "jsonl"])
    assert refused.exit_code == 1
    assert "settings format = 'parquet', and now it is 'jsonl'" in refused.stderr


def test_what_verify_finds_damaged_is_computed_again(place: Path, tmp_path: Path) -> None:
    options = ["-o", str(tmp_path / "out"), "--tokenizer", str(place / "quarters"), "--workers", "0"]
    command = ["tokenize", str(place / "pictures"), *options, "--verify"]
    assert CliRunner().invoke(app, command).exit_code == 0
    part = tmp_path / "out" / "part-000000.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
    damaged = CliRunner().invoke(app, command)
    assert damaged.exit_code == 1
    assert "part-000000.parquet was changed after it was written" in damaged.stderr
    repaired = CliRunner().invoke(app, command)
    assert repaired.exit_code == 0, repaired.output
    assert part.read_bytes() == whole


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--engine", "spark"], "got --engine spark; allowed: local, ray"),
        (["--format", "csv"], "got --format csv; allowed: parquet, webdataset, jsonl"),
        (["--precision", "int4"], "got --precision int4; allowed: float32, bfloat16"),
        (["--tokenizer", "nobody"], "there is no tokenizer 'nobody'"),
    ],
)
def test_unknown_names_are_one_line(place: Path, tmp_path: Path, options: list[str], line: str) -> None:
    result = CliRunner().invoke(
        app, ["tokenize", str(place / "pictures"), "-o", str(tmp_path / "out"), *options]
    )
    assert result.exit_code == 1
    assert line in result.stderr


def test_detokenize_refuses_a_folder_of_something_else(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["detokenize", str(tmp_path), "-o", str(tmp_path / "painted")])
    assert result.exit_code == 1
    assert "holds no manifest.json; allowed: a folder that v2l tokenize wrote" in result.stderr


@pytest.mark.embedded
def test_the_shipped_tokenizer_paints_what_it_read(samples: Path, tmp_path: Path) -> None:
    command = ["tokenize", str(samples / "shoes"), "-o", str(tmp_path / "out"), "--workers", "0"]
    assert CliRunner().invoke(app, [*command, "--vectors"]).exit_code == 0
    result = CliRunner().invoke(app, ["detokenize", str(tmp_path / "out"), "-o", str(tmp_path / "painted")])
    assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "painted").glob("*.png"))) == 4
