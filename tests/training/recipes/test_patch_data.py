"""Patch features: files that are no images are left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_pipeline import ColourEncoder

from v2l.errors import V2LError
from v2l.images import save_image
from v2l.training.recipes import patch_data
from v2l.training.recipes.patch_data import patch_features


@pytest.fixture(autouse=True)
def _own_cache(own_cache: None) -> None:
    """Patch features stay out of the user's cache."""


def test_a_shard_without_a_readable_image_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patch_data, "SHARD", 2)
    broken = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in broken:
        file.write_text("no image", encoding="utf-8")
    save_image(torch.rand(3, 32, 32), tmp_path / "c.png")
    features = patch_features(ColourEncoder(), [*broken, tmp_path / "c.png"], 32)
    assert features.files == (tmp_path / "c.png",)
    assert features.rows.shape == (1, 4, 4, 48)
    with pytest.raises(V2LError, match="none of 2 files is a readable image"):
        patch_features(ColourEncoder(), broken, 32)
