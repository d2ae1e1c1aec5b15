"""What is kept by the tests of this folder stays out of the user's cache."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _own_cache(own_cache: None) -> None:
    """The shared fixture, for every test here."""
