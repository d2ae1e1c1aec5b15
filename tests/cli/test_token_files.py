"""v2l encode, decode, convert-taming and evaluate tokenizers: what is refused, in one line, before any work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from v2l.cli.app import app
from v2l.images import load_image

Run = Callable[..., Result]


def refused(*args: object) -> str:
    """The one line of the error."""
    answer = CliRunner().invoke(app, [str(arg) for arg in args])
    assert answer.exit_code == 1, answer.output
    assert answer.stdout == ""
    (line,) = answer.stderr.splitlines()
    return line


def test_only_token_files_are_decoded_and_only_to_pictures(samples: Path, tmp_path: Path) -> None:
    photograph = samples / "hat" / "straw.jpg"
    assert "is no token file" in refused("decode", photograph, "-o", tmp_path / "out.png")
    assert "cannot read" in refused("decode", tmp_path / "none.v2l", "-o", tmp_path / "out.png")
    assert "suffix" in refused("decode", tmp_path / "none.v2l", "-o", tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_tokens_are_not_written_over_a_picture(samples: Path, tmp_path: Path) -> None:
    line = refused("encode", samples / "hat" / "straw.jpg", "-o", tmp_path / "out.png")
    assert "a name that ends in .v2l" in line
    both = refused("reconstruct", samples / "hat" / "straw.jpg", "--square", "--scale", "own")
    assert "--square and --scale" in both


def test_a_missing_checkpoint_is_refused(samples: Path, tmp_path: Path) -> None:
    assert "there is no file" in refused("convert-taming", tmp_path / "last.ckpt", "-o", tmp_path / "out")
    line = refused("evaluate", "tokenizers", samples / "hat", "--tokenizer", "nothing")
    assert "there is no tokenizer 'nothing'" in line


@pytest.mark.embedded
def test_the_table_of_tokenizers_goes_on_from_its_folder(run: Run, samples: Path, tmp_path: Path) -> None:
    args = ("evaluate", "tokenizers", samples / "hat", "--limit", 2, "-o", tmp_path / "table", "--json")
    answer = run(*args)
    found = json.loads(answer.stdout)
    assert found["rows"]["v2l"]["psnr"]["value"] > 15
    assert "left out vqgan" in answer.stderr
    assert load_image(tmp_path / "table" / "curve.png").shape[0] == 3
    assert "| WebP at" in (tmp_path / "table" / "table.md").read_text(encoding="utf-8")
    assert json.loads(run(*args).stdout)["rows"] == found["rows"]
