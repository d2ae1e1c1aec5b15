"""The tiny pipeline that the tests of this folder share."""

from __future__ import annotations

import pytest
from tiny_pipeline import tiny_pipeline

from v2l.pipeline.pipeline import Pipeline


@pytest.fixture(scope="session")
def pipeline() -> Pipeline:
    """Random weights: a prediction is computed as always, and has no meaning."""
    return tiny_pipeline()
