"""v2l reconstruct: a picture comes back from tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from v2l.images import load_image, resize, save_image

Run = Callable[..., Result]


@pytest.mark.embedded
def test_the_whole_photograph_comes_back_at_its_own_size(run: Run, samples: Path, tmp_path: Path) -> None:
    photograph = load_image(samples / "dress" / "pink.jpg")
    args = ("reconstruct", samples / "dress" / "pink.jpg", "-o", tmp_path / "out.png")
    record = json.loads(run(*args, "--json").stdout)
    assert load_image(tmp_path / "out.png").shape == photograph.shape
    height, width = record["decoded_size"]
    assert (height % 8, width % 8) == (0, 0)
    assert record["local_tokens"] == height * width // 64
    assert record["metrics"]["psnr"]["value"] > 15
    assert f"{photograph.shape[-1]} × {photograph.shape[-2]} pixels" in run(*args).stdout


@pytest.mark.embedded
def test_a_large_photograph_is_made_smaller_and_the_line_says_so(
    run: Run, samples: Path, tmp_path: Path
) -> None:
    large = resize(load_image(samples / "dress" / "pink.jpg"), (300, 1000))
    save_image(large, tmp_path / "large.png")
    line = run("reconstruct", tmp_path / "large.png", "-o", tmp_path / "out.png").stdout
    assert "96 × 29 local" in line
    assert "made smaller for the tokenizer, 768 × 232, and enlarged again, 1000 × 300 pixels" in line
    assert load_image(tmp_path / "out.png").shape == (3, 300, 1000)


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
