"""The tiny CLIP that the tests of this folder share."""

from __future__ import annotations

import pytest
from tiny_encoder import tiny_encoder

from v2l.encoders import JointEncoder


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> JointEncoder:
    """Random weights, GELU."""
    return tiny_encoder(tmp_path_factory.mktemp("clip") / "tiny")
