"""The tiny stack that the tests of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_stack import tiny_stack

from v2l.tasks.stack import Stack


@pytest.fixture(scope="session")
def stack() -> Stack:
    """Random weights: what tasks do with it is real, what comes out means nothing."""
    return tiny_stack()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept stays out of the user's cache."""
    monkeypatch.setenv("V2L_HOME", str(tmp_path / "cache"))
