"""v2l reconstruct: a picture comes back from tokens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from v2l.images import load_image

Run = Callable[..., Result]


@pytest.mark.embedded
def test_the_picture_is_near_the_photograph(run: Run, samples: Path, tmp_path: Path) -> None:
    record = json.loads(
        run("reconstruct", samples / "dress" / "pink.jpg", "-o", tmp_path / "out.png", "--json").stdout
    )
    assert load_image(tmp_path / "out.png").shape == (3, 128, 128)
    assert record["local_tokens"] == 256
    assert record["metrics"]["psnr"]["value"] > 15
