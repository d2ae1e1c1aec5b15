"""Scores are plain cosines over the nearest words, relative to one range for all codebooks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.errors import V2LError
from v2l.evaluation import semantics
from v2l.evaluation.semantics import SemanticsSettings, evaluate_semantics, page, report

SETTINGS = SemanticsSettings((1, 3))


def unit(rows: int, seed: int) -> torch.Tensor:
    return functional.normalize(torch.randn(rows, 8, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.fixture
def features() -> torch.Tensor:
    return unit(20, 1)


@pytest.fixture
def before() -> Codebook:
    entries = tuple(Entry(f"word {row}", tuple(range(1 + row % 3)), 1 + row % 3) for row in range(30))
    return Codebook(entries, unit(30, 0), Source("smol", "1", "some encoder", "2"))


def test_figures_equal_a_plain_reading(features: torch.Tensor, before: Codebook) -> None:
    after = before.select(range(12))
    result = evaluate_semantics(features, {"before": before, "after": after}, SETTINGS)
    cosines = features @ before.embeddings.T
    low, high = cosines.amin(dim=1), cosines.amax(dim=1)
    titles = {"subwords only": 1, "with bigrams": 2, "with trigrams": 3}
    assert len(result.nearest) == 2 * 3 * 2
    for row in result.nearest:
        size = {"before": 30, "after": 12}[row.vocabulary.codebook]
        columns = [
            column for column in range(size) if before.entries[column].order <= titles[row.vocabulary.orders]
        ]
        means = cosines[:, columns].sort(dim=1, descending=True).values[:, : row.count].mean(dim=1)
        assert row.score.value == pytest.approx(means.mean().item(), abs=1e-6)
        assert row.relative.value == pytest.approx(((means - low) / (high - low)).mean().item(), abs=1e-6)
        assert row.score.n == 20


def test_the_best_word_of_all_is_at_one(features: torch.Tensor, before: Codebook) -> None:
    result = evaluate_semantics(features, {"all": before}, SETTINGS)
    assert result.nearest[-2].count == 1
    assert result.nearest[-2].relative.value == pytest.approx(1)


def test_random_words_are_worse_and_seeded(features: torch.Tensor, before: Codebook) -> None:
    books = {"all": before}
    result = evaluate_semantics(features, books, SETTINGS)
    assert all(
        drawn.score.value < near.score.value
        for near, drawn in zip(result.nearest, result.random, strict=True)
    )
    assert [row.score for row in evaluate_semantics(features, books, SETTINGS).random] == [
        row.score for row in result.random
    ]
    other = evaluate_semantics(features, books, replace(SETTINGS, seed=1))
    assert [row.score for row in other.random] != [row.score for row in result.random]
    assert [row.score for row in other.nearest] == [row.score for row in result.nearest]


def test_figures_do_not_depend_on_how_many_images_are_compared_at_once(
    features: torch.Tensor, before: Codebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = report(evaluate_semantics(features, {"all": before}, SETTINGS))
    monkeypatch.setattr(semantics, "CHUNK", 3)
    parts = report(evaluate_semantics(features, {"all": before}, SETTINGS))
    old, new = (found["metrics"]["all"]["with trigrams"]["3"]["score"]["value"] for found in (whole, parts))
    assert old == pytest.approx(new, abs=1e-6)


def test_distinct_words_are_one_of_each_family(features: torch.Tensor, before: Codebook) -> None:
    doubled = replace(
        before,
        entries=tuple(
            replace(entry, word=f"word {row // 2}", order=1) for row, entry in enumerate(before.entries)
        ),
    )
    plain, distinct = (
        evaluate_semantics(features, {"all": doubled}, replace(SETTINGS, distinct=distinct))
        .nearest[-1]
        .score.value
        for distinct in (False, True)
    )
    assert distinct < plain


def test_a_codebook_of_subwords_has_one_row_a_count(features: torch.Tensor, before: Codebook) -> None:
    subwords = before.select([row for row, entry in enumerate(before.entries) if entry.order == 1])
    result = evaluate_semantics(features, {"own": subwords}, SETTINGS)
    assert [(row.vocabulary.orders, row.count) for row in result.nearest] == [
        ("subwords only", 1),
        ("subwords only", 3),
    ]


def test_too_few_words_and_mixed_models_are_refused(features: torch.Tensor, before: Codebook) -> None:
    with pytest.raises(V2LError, match=r"asked for 21 words, and all there are 10 \(subwords only\)"):
        evaluate_semantics(features, {"all": before}, SemanticsSettings())
    other = replace(before, source=replace(before.source, encoder_fingerprint="3"))
    with pytest.raises(V2LError, match="codebooks of one LLM and one encoder"):
        evaluate_semantics(features, {"all": before, "other": other}, SETTINGS)


def test_the_report_names_encoder_and_intervals(features: torch.Tensor, before: Codebook) -> None:
    result = evaluate_semantics(
        features, {"before the filter": before, "after the filter": before.select(range(9))}, SETTINGS
    )
    reported = report(result)
    assert {"metrics", "baselines", "n", "seed", "protocol", "settings", "stack"} <= reported.keys()
    figure = reported["metrics"]["after the filter"]["with bigrams"]["3"]["relative"]
    assert figure["interval"][0] < figure["value"] < figure["interval"][1]
    assert reported["codebook_sizes"]["after the filter, subwords only"] == 3
    text = page(result)
    assert "some encoder score" in text
    assert "CLIP" not in text
    assert "20 images" in text
