"""A release with random weights beside a tiny LLaMA and a tiny CLIP, and what it becomes."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_encoder import write_tiny_clip
from tiny_llama import write_tiny_llama
from tiny_release import SMALL, Setting, random_weights, write_release

from v2l.encoders import load_encoder
from v2l.llm.loading import load_vocabulary
from v2l.official.conversion import convert, examine
from v2l.official.files import OfficialFiles
from v2l.tokenizers.grid.model import V2LTokenizer


@pytest.fixture(scope="session")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    folder = tmp_path_factory.mktemp("official")
    llama, clip = str(write_tiny_llama(folder / "llama")), write_tiny_clip(folder / "clip", quick_gelu=True)
    encoder = load_encoder(clip, device="cpu")
    weights = random_weights(
        SMALL, image_half={name: tensor.half() for name, tensor in encoder.image_weights().items()}
    )
    return Setting(
        folder,
        weights,
        write_release(folder / "release", weights),
        llama,
        clip,
        load_vocabulary(llama),
        encoder,
    )


@pytest.fixture(scope="session")
def converted(setting: Setting) -> Path:
    """The directory that the release becomes."""
    files = OfficialFiles.read(setting.release.checkpoint, setting.release.codebooks)
    convert(
        examine(files, setting.tokens, setting.encoder),
        setting.tokens,
        setting.encoder,
        setting.folder / "converted",
    )
    return setting.folder / "converted"


@pytest.fixture(scope="session")
def model(converted: Path) -> V2LTokenizer:
    """The tokenizer, read again from its directory."""
    return V2LTokenizer.from_pretrained(converted, device="cpu")
