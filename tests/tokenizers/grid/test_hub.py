"""The hub's habits: a name or a folder, a card beside the weights, one call to publish; and no socket when
offline.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelCard, constants
from tiny_tokenizer import tiny_tokenizer

from v2l.config import ModelsConfig
from v2l.errors import V2LError
from v2l.tokenizers.grid.model import V2LTokenizer

NAME, REVISION = "ada/tokenizer", "0" * 40


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer's directory."""
    folder = tmp_path_factory.mktemp("hub") / "saved"
    model = tiny_tokenizer()
    model.facts = {"steps": 7}
    model.config = replace(model.config, models=ModelsConfig(encoder="nowhere"))
    model.save_pretrained(folder)
    return folder


def as_cached(saved: Path, cache: Path) -> None:
    """Lay a directory out as the hub's package keeps what it has fetched, with a file that only the hub
    adds.
    """
    model = cache / f"models--{NAME.replace('/', '--')}"
    shutil.copytree(saved, model / "snapshots" / REVISION)
    (model / "snapshots" / REVISION / ".gitattributes").touch()
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(REVISION, encoding="utf-8")


def test_a_name_of_the_hub_is_read_from_its_cache(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_cached(saved, tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    model = V2LTokenizer.from_pretrained(NAME, device="cpu")
    assert model.facts == {"steps": 7}


def test_the_card_is_markdown_with_a_head_and_may_be_edited(saved: Path, tmp_path: Path) -> None:
    card = ModelCard.load(saved / "README.md")
    assert card.data.library_name == "v2l"
    for part in ("words of tiny", "| steps | 7 |", "40 words", "30 words", "encoder-fingerprint"):
        assert part in card.text
    shutil.copytree(saved, tmp_path / "edited")
    (tmp_path / "edited" / "README.md").write_text("# Mine", encoding="utf-8")
    assert V2LTokenizer.from_pretrained(tmp_path / "edited", device="cpu").facts == {"steps": 7}


def test_publishing_sends_the_whole_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hub:
        def __init__(self, **_: Any) -> None:
            self.made: list[tuple] = []

        def create_repo(self, name: str, **settings: Any) -> Any:
            assert settings == {"private": True, "exist_ok": True}
            return huggingface_hub.RepoUrl(f"https://huggingface.co/{name}")

        def upload_folder(self, repo_id: str, folder_path: Path, **_: Any) -> None:
            shutil.copytree(folder_path, tmp_path / repo_id)

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    model = tiny_tokenizer()
    assert model.push_to_hub(NAME, private=True) == f"https://huggingface.co/{NAME}"
    again = V2LTokenizer.from_pretrained(tmp_path / NAME, device="cpu")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_publishing_is_refused_offline_and_where_the_hub_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(V2LError, match="v2l is offline"):
        tiny_tokenizer().push_to_hub(NAME)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("403: not yours\nand more")

    monkeypatch.setattr(huggingface_hub, "HfApi", lambda **_: SimpleNamespace(create_repo=refuse))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with pytest.raises(V2LError, match=r"403: not yours.*hf auth login"):
        tiny_tokenizer().push_to_hub(NAME)


GUARDED = """
import os, socket, sys
opened = []
class Guarded(socket.socket):  # urllib3 binds one at its import, to learn whether there is IPv6; that sends nothing
    def connect(self, address):
        opened.append(address)
        super().connect(address)
    def connect_ex(self, address):
        opened.append(address)
        return super().connect_ex(address)
    def sendto(self, data, *where):
        opened.append(where)
        return super().sendto(data, *where)
socket.socket = Guarded
look_up = socket.getaddrinfo
socket.getaddrinfo = lambda *args, **kwargs: opened.append(args) or look_up(*args, **kwargs)
*args, first, second = sys.argv[1:]
from v2l.__main__ import main
for checkpoint in (first, second):
    sys.argv = ["v2l", *args, checkpoint]
    try:
        main()
    except SystemExit:
        pass
print("connections", opened)
"""


def test_offline_no_connection_is_opened_and_hf_home_is_looked_into(
    saved: Path, samples: Path, tmp_path: Path
) -> None:
    as_cached(saved, tmp_path / "hf" / "hub")
    kept = {
        name: value for name, value in os.environ.items() if name not in ("HF_HUB_OFFLINE", "HF_HUB_CACHE")
    }
    environment = kept | {"HF_HOME": str(tmp_path / "hf"), "V2L_HOME": str(tmp_path / "v2l")}

    args = (
        "--offline",
        "words",
        str(samples / "hat" / "straw.jpg"),
        "-n",
        "3",
        "--checkpoint",
        "nobody/nothing",
        NAME,
    )
    done = subprocess.run(
        [sys.executable, "-c", GUARDED, *args], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "connections []\n"
    missing, found = done.stderr.splitlines()
    assert missing.startswith(
        "v2l: there is no checkpoint 'nobody/nothing': it is no folder on this machine, "
        "not in the hub's cache"
    )
    assert "got encoder 'nowhere'" in found  # so its settings were read, from HF_HOME
