"""The whole pipeline on a LLaMA with a SentencePiece vocabulary, command by command: codebook, tokenizer, words,
few-shot, inpainting."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from tiny_encoder import write_tiny_clip
from tiny_llama import VOCABULARY, write_tiny_llama
from typer.testing import CliRunner

from v2l.cli.app import app
from v2l.codebook.codebook import Codebook
from v2l.llm import load_llm

NETWORK = {
    "image_size": 64,
    "global_tokens": 8,
    "level_channels": [32, 32],
    "res_blocks": 1,
    "z_channels": 8,
    "lookup_dim": 8,
    "attention_heads": 2,
    "attention_head_dim": 8,
}
TRAINING = {"steps": 2, "batch_size": 2, "crop_size": 32, "perceptual": "none", "save_every": 2}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models and a config that names them."""
    folder = tmp_path_factory.mktemp("llama-line")
    models = {
        "encoder": write_tiny_clip(folder / "clip"),
        "llm": str(write_tiny_llama(folder / "llama", context=2048)),
    }
    settings = {
        "extends": "small",
        "models": models,
        "model": NETWORK,
        "training": TRAINING,
        "codebook": {"min_count": 0},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", autouse=True)
def cache(home: Path) -> pytest.MonkeyPatch:
    """What is computed once is kept beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("V2L_HOME", str(home / "cache"))
        yield patch


def report_of(home: Path, *args: object) -> dict:
    """The JSON report of a command."""
    result = CliRunner().invoke(
        app, ["--config", str(home / "config.yaml"), "--device", "cpu", *map(str, args), "--json"]
    )
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def checkpoint(home: Path, samples: Path) -> Path:
    """Codebooks of LLaMA's words, and a tokenizer trained on them for two steps."""
    report_of(home, "build-codebook", "--images", samples, "-o", home / "codebooks")
    report_of(home, "train", samples, "--codebooks", home / "codebooks", "-o", home / "run")
    return home / "run" / "model"


def test_the_local_codebook_holds_words_and_no_bytes(checkpoint: Path, home: Path) -> None:
    llm = load_llm(str(home / "llama"), device="cpu")
    local = Codebook.load(checkpoint / "local")
    ids = set(local.token_ids.tolist())
    assert ids
    assert ids <= set(range(259, VOCABULARY))
    assert all(llm.surface(entry.ids[0]).strip() == entry.word for entry in local.entries)
    assert local.metadata["dropped"]["byte"] == 256


def test_global_words_keep_the_space_between_their_pieces(checkpoint: Path, home: Path) -> None:
    llm = load_llm(str(home / "llama"), device="cpu")
    words = Codebook.load(checkpoint / "global")
    assert {entry.order for entry in words.entries} > {1}
    assert all(
        "▁" not in entry.word and llm.decode(entry.ids).strip() == entry.word for entry in words.entries
    )


def test_words_classes_and_holes(checkpoint: Path, home: Path, samples: Path, tmp_path: Path) -> None:
    record = report_of(home, "words", samples / "hat" / "straw.jpg", "-n", 5, "--checkpoint", checkpoint)
    assert len(record["words"]) == 5
    answer = report_of(home, "fewshot-classify", samples, "--episodes", 3, "--checkpoint", checkpoint)
    assert (answer["n"], answer["stack"]["llm"]) == (3, str(home / "llama"))
    report_of(
        home, "inpaint", samples / "hat" / "straw.jpg", "--checkpoint", checkpoint, "-o", tmp_path / "hat.png"
    )
    assert (tmp_path / "hat.png").is_file()
