"""Small inputs of every kind, and a tokenizer without a network that tells images apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_pictures import picture
from tiny_words_tokenizer import QuarterTokenizer

from v2l.tokenization.plan import Settings
from v2l.tokenization.run import Request, Summary, tokenize


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A saved tokenizer of words."""
    folder = tmp_path_factory.mktemp("checkpoint") / "quarters"
    QuarterTokenizer().save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 23 images, two of them unreadable, and a file that is no image."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(21):
        path = folder / f"{number % 3}" / f"{number:03d}.{('png', 'jpg')[number % 2]}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(number, path.suffix[1:]))
    (folder / "0" / "cut.png").write_bytes(picture(1)[:60])
    (folder / "0" / "empty.jpg").write_bytes(b"")
    (folder / "0" / "notes.md").write_text("no image")
    return folder


@pytest.fixture
def run(checkpoint: str) -> Callable[..., Summary]:
    """`tokenize` in this process with shards of 5 images; keywords change the request or its settings."""

    def start(place: str | Path, output: str | Path, **changes: Any) -> Summary:
        names = Settings.__dataclass_fields__
        settings = Settings(
            **{"shard": 5, **{key: changes.pop(key) for key in list(changes) if key in names}}
        )
        request = {"tokenizer": checkpoint, "workers": 0, "device": "cpu", **changes}
        places = [str(place)] if isinstance(place, str | Path) else list(place)
        return tokenize(Request(places, str(output), settings=settings, **request))

    return start
