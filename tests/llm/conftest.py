"""The tiny LLM that the tests of this folder share."""

from __future__ import annotations

import pytest
from tiny_llm import tiny_llm

from v2l.llm import FrozenLLM


@pytest.fixture(scope="module")
def llm() -> FrozenLLM:
    """Byte-level, no BOS."""
    return tiny_llm()


@pytest.fixture(scope="module")
def llama() -> FrozenLLM:
    """LLaMA's way: BOS, and a leading space for every piece."""
    return tiny_llm(sentence=True)
