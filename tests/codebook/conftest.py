"""The tiny encoder, the tiny LLM and the builder that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_encoder import tiny_encoder
from tiny_llm import tiny_llm

from v2l.codebook.build import CodebookBuilder
from v2l.config import CodebookConfig
from v2l.encoders import JointEncoder
from v2l.llm import FrozenLLM
from v2l.progress import silent
from v2l.sources import find_images

TEMPLATES = ("a photo of a {}", "the {}")


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> JointEncoder:
    """A CLIP with random weights."""
    return tiny_encoder(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="session")
def llm() -> FrozenLLM:
    """Some three hundred byte-level tokens."""
    return tiny_llm()


@pytest.fixture(scope="session")
def photographs(samples: Path) -> list[Path]:
    """The sample photographs."""
    return find_images(samples)


@pytest.fixture
def builder(encoder: JointEncoder, llm: FrozenLLM, tmp_path: Path) -> Callable[..., CodebookBuilder]:
    """Settings, folder of finished parts, and listener ──► a builder of the tiny models."""

    def make(
        work: str = "work", progress: Callable[[str, int, int], None] = silent, **settings: object
    ) -> CodebookBuilder:
        return CodebookBuilder(
            encoder, llm, CodebookConfig(**{"templates": TEMPLATES, **settings}), tmp_path / work, progress
        )

    return make
