"""One window at a time gives the tokens that batches and shared prefixes give; the benchmark runs."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import restoration as benchmark
import torch
from plain.restoration import restore_plainly
from tiny_pipeline import tiny_pipeline

from v2l.corruptions import all_cells, centre_cells
from v2l.evaluation.restoration.oracle import CorruptedTokens, chosen_windows, denoise
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.restoration.settings import RestorationSettings

SETTINGS = RestorationSettings(n_context=4, n_before=2, num_candidates=0)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return tiny_pipeline()


@pytest.mark.parametrize("sequential", [True, False])
@pytest.mark.parametrize("prompt", ["paper", "tuned"])
def test_the_same_tokens_come_out(pipeline: Pipeline, sequential: bool, prompt: str) -> None:
    codes = pipeline.tokenizer.local_codebook.token_ids
    clean, other = codes[torch.randint(len(codes), (2, 8, 8), generator=torch.Generator().manual_seed(0))]
    hidden = centre_cells((8, 8)) if sequential else all_cells((8, 8))
    tokens, settings = (
        CorruptedTokens(clean, clean if sequential else other, hidden, sequential),
        replace(SETTINGS, prompt=prompt),
    )
    windows = chosen_windows(tokens, settings, 6)
    plain = restore_plainly(pipeline.llm, codes, tokens, settings, windows)
    assert plain == [window.ids for window in denoise(pipeline, tokens, settings, 6).log]


def test_the_benchmark_prints_its_ratios(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], samples: Path
) -> None:
    monkeypatch.setattr(Pipeline, "load", lambda **_: pipeline)
    monkeypatch.setattr(benchmark, "PAPER", replace(SETTINGS, prompt="paper"))
    monkeypatch.setattr(benchmark, "SIDE", 64)
    monkeypatch.setattr(sys, "argv", ["restoration.py", str(samples / "hat" / "straw.jpg"), "--windows", "2"])
    benchmark.main()
    printed = capsys.readouterr().out
    assert printed.count("same tokens as plain: 2 of 2") == 2
    assert printed.count("tuned prompt ") == 2
