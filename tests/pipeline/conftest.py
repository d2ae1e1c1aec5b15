"""The tiny pipeline that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_pipeline import tiny_pipeline

from v2l.pipeline.pipeline import Pipeline


@pytest.fixture(scope="session")
def pipeline() -> Pipeline:
    """Random weights: what tasks do with it is real, what comes out means nothing."""
    return tiny_pipeline()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept stays out of the user's cache."""
    monkeypatch.setenv("V2L_HOME", str(tmp_path / "cache"))
