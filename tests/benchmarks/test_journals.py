"""A benchmark's log is of one tokenizer's weights, one LLM and one set of images."""

from __future__ import annotations

import sys
from pathlib import Path

import fewshot_settings
import pytest
import torch
from choices import placed_answers
from tiny_namer import tiny_namer
from tiny_pipeline import tiny_pipeline

from v2l.errors import V2LError
from v2l.evaluation.journal import Journal
from v2l.pipeline.pipeline import Pipeline
from v2l.tokenizers.clusters.model import ClusterTokenizer
from v2l.tokenizers.clusters.settings import ClusterSettings, NetworkSettings, TrainedSettings
from v2l.tokenizers.contract import ImageTokenizer


def train_on(tokenizer: ImageTokenizer) -> None:
    """Change the weights, as training into the same folder does."""
    with torch.no_grad():
        next(tokenizer.parameters()).add_(1)


def test_answers_by_placed_words_are_of_one_tokenizer_and_one_bag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = TrainedSettings(NetworkSettings(16, 2, 4.0, 8, 2, 1, 4, 16), 48, 16)
    setok, bag = ClusterTokenizer(ClusterSettings(side=64), tiny_namer(), trained), tiny_pipeline()
    monkeypatch.setattr(placed_answers, "load_tokenizer", lambda name, device: setok)

    def open_journal() -> Journal:
        return Journal.open(
            tmp_path / "log.jsonl", placed_answers.facts(bag, ["setok"], [tmp_path / "a.jpg"])
        )

    open_journal()
    open_journal()
    train_on(bag.tokenizer)
    with pytest.raises(V2LError, match=r"tokenizer_weights\.the bag"):
        open_journal()
    (tmp_path / "log.jsonl").unlink()
    open_journal()
    train_on(setok)
    with pytest.raises(V2LError, match=r"tokenizer_weights\.setok"):
        open_journal()
    (tmp_path / "log.jsonl").unlink()
    open_journal()
    (tmp_path / "a.jpg").write_bytes(b"another")
    with pytest.raises(V2LError, match=r"images\.fingerprint"):
        open_journal()


def test_settings_of_few_shot_are_compared_for_one_tokenizer(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = tiny_pipeline()
    monkeypatch.setattr(Pipeline, "load", lambda *_: pipeline)
    asked = ["--half", "all", "--ways", "2", "--episodes", "2", "--only", "none of the settings"]
    monkeypatch.setattr(sys, "argv", ["x", str(samples), *asked, "--log", str(tmp_path / "log.jsonl")])
    fewshot_settings.main()
    fewshot_settings.main()
    train_on(pipeline.tokenizer)
    with pytest.raises(V2LError, match="tokenizer_weights"):
        fewshot_settings.main()
