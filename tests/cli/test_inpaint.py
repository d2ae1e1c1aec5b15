"""v2l inpaint: the masked part is filled, and the rest is unchanged."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from v2l.images import load_image, save_image
from v2l.masks import box_mask

Run = Callable[..., Result]


@pytest.mark.embedded
def test_only_the_box_changes(run: Run, samples: Path, tmp_path: Path) -> None:
    photograph, out = samples / "pants" / "tartan.jpg", tmp_path / "new" / "out.png"
    record = json.loads(run("inpaint", photograph, "--box", "60,60,100,90", "-o", out, "--json").stdout)
    before, after = load_image(photograph), load_image(out)
    mask = box_mask((60, 60, 100, 90), (before.shape[-2], before.shape[-1]))
    assert before[:, ~mask].equal(after[:, ~mask])
    assert not before[:, mask].equal(after[:, mask])
    assert record["masked_pixels"] == 40 * 30
    assert sum(len(window["ids"]) for window in record["windows"]) == record["masked_cells"]
    assert record["stack"]["llm"] == "smollm2"


@pytest.mark.embedded
def test_a_mask_file_means_its_white_part(run: Run, samples: Path, tmp_path: Path) -> None:
    photograph = samples / "dress" / "pink.jpg"
    size = load_image(photograph).shape[-2:]
    mask = box_mask((10, 20, 40, 44), (size[0], size[1]))
    save_image(mask.float().expand(3, -1, -1), tmp_path / "mask.png")
    record = json.loads(
        run(
            "inpaint", photograph, "--mask", tmp_path / "mask.png", "-o", tmp_path / "out.png", "--json"
        ).stdout
    )
    assert record["masked_pixels"] == int(mask.sum())
