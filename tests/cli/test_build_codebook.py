"""v2l build-codebook: both codebooks of any LLM and any joint encoder, which v2l train then reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_encoder import write_tiny_clip
from tiny_llm import tiny_llm
from typer.testing import CliRunner, Result

from v2l.cli.app import app
from v2l.codebook.codebook import Codebook
from v2l.config import load_config
from v2l.llm import FrozenLLM
from v2l.sources import find_images

Run = Callable[..., Result]

TINY = """
extends: small
models: {{encoder: "{encoder}"}}
model: {{level_channels: [32, 32], res_blocks: 1, z_channels: 32, lookup_dim: 4, global_tokens: 3}}
training: {{steps: 2, batch_size: 2, crop_size: 32, save_every: 1, perceptual: none, perceptual_weight: 0}}
"""


def tiny_models(folder: Path) -> tuple[FrozenLLM, str]:
    """A tiny LLM, saved as `llm` in the folder, and the name of a tiny joint encoder."""
    llm = tiny_llm()
    llm.model.save_pretrained(folder / "llm")
    llm.tokenizer.save_pretrained(folder / "llm")
    return llm, write_tiny_clip(folder / "clip")


def test_codebooks_are_built_and_trained_on(run: Run, samples: Path, tmp_path: Path, own_cache: None) -> None:
    llm, encoder = tiny_models(tmp_path)

    (tmp_path / "list.csv").write_text(f"path,label\n{samples / 'hat' / 'straw.jpg'},hat\n", encoding="utf-8")
    places = ("--images", f"{samples / 'hat'}@train", "--images", tmp_path / "list.csv")
    built = ("build-codebook", *places, "-o", tmp_path / "codebooks", "--min-count", 0)
    record = json.loads(run(*built, "--llm", tmp_path / "llm", "--encoder", encoder, "--json").stdout)
    assert record["stack"]["llm_fingerprint"] == llm.fingerprint
    for name in ("local", "global"):
        assert len(Codebook.load(tmp_path / "codebooks" / name)) == record[name]["codebook_size"] > 0
    photographs = find_images(f"{samples / 'hat'}@train", samples / "hat" / "straw.jpg")
    assert record["global"]["facts"]["images"] == len(photographs)

    (tmp_path / "tiny.yaml").write_text(TINY.format(encoder=encoder), encoding="utf-8")
    trained = (
        "train",
        samples / "hat",
        "--codebooks",
        tmp_path / "codebooks",
        "--config",
        tmp_path / "tiny.yaml",
        "-o",
        tmp_path / "run",
    )
    assert json.loads(run(*trained, "--json").stdout)["steps"] == 2
    weights = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    assert "2 of 2 steps done" in run(*trained).stdout
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == weights


def test_a_build_keeps_its_candidates_on_request_and_a_share_of_them(
    run: Run, samples: Path, tmp_path: Path, own_cache: None
) -> None:
    _, encoder = tiny_models(tmp_path)
    build = (
        "build-codebook",
        "--images",
        samples / "hat",
        "--llm",
        tmp_path / "llm",
        "--encoder",
        encoder,
        "-o",
        tmp_path / "built",
    )
    run(*build, "--keep-candidates", "--min-count", 0, "--keep", "20%")
    candidates, words = (Codebook.load(tmp_path / "built" / name) for name in ("candidates", "global"))
    assert len(words) == round(0.2 * len(candidates))
    assert sum(entry.count for entry in candidates.entries) == load_config("small").codebook.votes * 4
    other = CliRunner().invoke(app, [str(arg) for arg in (*build, "--keep", "10%")])
    assert other.exit_code == 1
    assert "was built with" in other.stderr
    assert "--replace" in other.stderr
    run(*build, "--keep", 7, "--replace")
    assert len(Codebook.load(tmp_path / "built" / "global")) == 7


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--candidates", "paper"), "codebook.candidates = ['paper']; allowed: llm, lexicon, or both"),
        (("--lexicon", "nowhere.csv"), "'nowhere.csv', which is no source and no file"),
        (("--lexicon", "frequent", "--language", "xx"), "no words of the language 'xx'"),
    ],
)
def test_a_bad_lexicon_is_one_line_and_writes_nothing(
    args: tuple[str, ...], message: str, samples: Path, tmp_path: Path, own_cache: None
) -> None:
    _, encoder = tiny_models(tmp_path)
    built = ["build-codebook", "--images", str(samples / "hat"), "-o", str(tmp_path / "out")]
    models = ["--llm", str(tmp_path / "llm"), "--encoder", encoder]
    answer = CliRunner().invoke(app, [*built, *models, *args])
    assert answer.exit_code == 1, answer.output
    assert message in answer.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()
    assert not list((tmp_path / "cache").rglob("encoding-images*"))  # refused before the long work


def test_a_users_words_are_the_global_codebook(
    run: Run, samples: Path, tmp_path: Path, own_cache: None
) -> None:
    _, encoder = tiny_models(tmp_path)
    words = "word,definition\nstraw hat,a hat of straw\nhat,\nperennation,growth\n"
    (tmp_path / "mine.csv").write_text(words, encoding="utf-8")
    places = ("--images", samples / "hat", "-o", tmp_path / "out", "--dropped", tmp_path / "dropped.csv")
    models = ("--llm", tmp_path / "llm", "--encoder", encoder)
    run("build-codebook", *places, *models, "--candidates", "lexicon", "--lexicon", tmp_path / "mine.csv")
    assert Codebook.load(tmp_path / "out" / "global").words == ("straw hat", "hat")
    assert "perennation,lexicon word of more than 3 tokens" in (tmp_path / "dropped.csv").read_text()
