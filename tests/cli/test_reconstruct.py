"""v2l reconstruct: a picture comes back from tokens."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from v2l.cli.app import app
from v2l.images import load_image

Run = Callable[..., Result]


@pytest.mark.embedded
def test_the_whole_photograph_comes_back_at_its_own_size(run: Run, samples: Path, tmp_path: Path) -> None:
    photograph = load_image(samples / "dress" / "pink.jpg")
    args = ("reconstruct", samples / "dress" / "pink.jpg", "-o", tmp_path / "out.png")
    record = json.loads(run(*args, "--json").stdout)
    assert load_image(tmp_path / "out.png").shape == photograph.shape
    cells = [math.ceil(side / 8) for side in photograph.shape[-2:]]
    assert record["local_tokens"] == math.prod(cells)
    assert record["bytes"] == pytest.approx((math.prod(cells) + 21) * 15 / 8, rel=0.01)
    assert record["metrics"]["psnr"]["value"] > 20
    line = run(*args, "--scale", "model").stdout
    assert "made smaller for the tokenizer and enlarged again" in line
    assert f"{photograph.shape[-1]} × {photograph.shape[-2]} pixels" in line


@pytest.mark.embedded
def test_a_token_file_decodes_to_the_same_picture_and_a_changed_one_to_nothing(
    run: Run, samples: Path, tmp_path: Path
) -> None:
    photograph, tokens = samples / "dress" / "pink.jpg", tmp_path / "pink.v2l"
    run("reconstruct", photograph, "-o", tmp_path / "directly.png")
    record = json.loads(run("encode", photograph, "-o", tokens, "--json").stdout)
    assert record["bytes"] == tokens.stat().st_size
    run("decode", tokens, "-o", tmp_path / "decoded.png")
    assert (tmp_path / "decoded.png").read_bytes() == (tmp_path / "directly.png").read_bytes()
    changed = bytearray(tokens.read_bytes())
    changed[99] ^= 1
    (tmp_path / "changed.v2l").write_bytes(changed)
    result = CliRunner().invoke(
        app, ["decode", str(tmp_path / "changed.v2l"), "-o", str(tmp_path / "no.png")]
    )
    assert result.exit_code == 1
    assert not (tmp_path / "no.png").exists()


@pytest.mark.embedded
def test_the_square_is_the_checkpoints_size(run: Run, samples: Path, tmp_path: Path) -> None:
    record = json.loads(
        run(
            "reconstruct", samples / "dress" / "pink.jpg", "-o", tmp_path / "out.png", "--square", "--json"
        ).stdout
    )
    assert load_image(tmp_path / "out.png").shape == (3, 128, 128)
    assert record["local_tokens"] == 256
    assert record["metrics"]["psnr"]["value"] > 15
