"""Tokenizers are measured beside codecs at equal bytes, the same whether the run was stopped or not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_metrics import tiny_metrics
from tiny_pipeline import tiny_pipeline
from tiny_vqgan import tiny_vqgan
from tiny_words_tokenizer import QuarterTokenizer

import v2l.evaluation.tokenizers as module
from v2l.errors import V2LError
from v2l.evaluation.codecs import available_codecs
from v2l.evaluation.reconstruction import ReconstructionSettings
from v2l.evaluation.tokenizers import TokenizersEvaluation, TokenizersResult, budgets_of
from v2l.evaluation.tokenizers_report import chart, report, table
from v2l.sources import ImageFile, find_images


@pytest.fixture(scope="module")
def evaluation() -> TokenizersEvaluation:
    tokenizers = {"v2l": tiny_pipeline().tokenizer, "vqgan": tiny_vqgan()}
    return TokenizersEvaluation(tokenizers, tiny_metrics(), ReconstructionSettings(64, seed=1, limit=4))


@pytest.fixture(scope="module")
def files(samples: Path) -> list[ImageFile]:
    return find_images(samples)


@pytest.fixture(scope="module")
def result(evaluation: TokenizersEvaluation, files: list[ImageFile]) -> TokenizersResult:
    return evaluation.run(files)


def test_there_is_a_row_for_every_tokenizer_and_for_every_codec_at_every_budget(
    evaluation: TokenizersEvaluation, result: TokenizersResult
) -> None:
    methods = len(available_codecs()) + 1
    assert len(result.figures) == 2 + methods * len(evaluation.budgets)
    assert {len(values) for row in result.figures.values() for values in row.values()} == {4}


def test_codecs_and_shrinking_get_no_fewer_bytes_than_their_budget(
    evaluation: TokenizersEvaluation, result: TokenizersResult
) -> None:
    for budget in evaluation.budgets:
        assert min(result.figures[f"shrunk at {budget:.0f}"]["bytes"]) >= budget
        assert min(result.figures[f"WebP at {budget:.0f}"]["bytes"]) >= budget


def test_tokenizers_of_about_equal_bytes_share_a_budget() -> None:
    assert budgets_of([480.0, 519.0]) == [519.0, 1038.0, 2076.0]
    assert budgets_of([60.0, 519.0]) == [60.0, 519.0, 1038.0, 2076.0]


def test_a_stopped_run_goes_on_and_gives_the_same(
    evaluation: TokenizersEvaluation,
    files: list[ImageFile],
    result: TokenizersResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    log = tmp_path / "journal.jsonl"
    calls: list[int] = []

    def stop_after_one(name: str, done: int, of: int) -> None:
        calls.append(done)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluation.run(files, log, stop_after_one)
    again = evaluation.run(files, log)
    assert calls == [2]
    for row, frechet in result.frechet.items():
        assert again.frechet[row] == pytest.approx(frechet, rel=1e-3, abs=1e-6)
    for row, figures in result.figures.items():
        assert again.figures[row]["psnr"] == pytest.approx(figures["psnr"], abs=1e-3)
    assert torch.equal(again.usage["vqgan"].counts, result.usage["vqgan"].counts)


def test_the_report_is_json_and_its_table_and_plot_show_every_row(result: TokenizersResult) -> None:
    found = json.loads(json.dumps(report(result), allow_nan=False))
    text = table(found)
    assert all(f"| {row} " in text for row in result.figures)
    assert found["rows"]["vqgan"]["bits"] == pytest.approx(16 * 4.585, rel=1e-3)
    assert 0 <= found["rows"]["v2l"]["same_class"]["value"] <= 1
    assert chart(found).shape[0] == 3


def test_a_tokenizer_without_a_decoder_is_refused() -> None:
    with pytest.raises(V2LError, match="a decoder"):
        TokenizersEvaluation({"quarters": QuarterTokenizer()}, tiny_metrics(), ReconstructionSettings())
