"""Words that make up a vector together: the first is the nearest, and each takes its share out."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tokenizer import tiny_codebook
from torch.nn.functional import normalize

from v2l.codebook import codebook as codebook_module
from v2l.codebook.codebook import Codebook, Entry
from v2l.codebook.matching_pursuit import words_together
from v2l.errors import V2LError

CODEBOOK = tiny_codebook(60, dim=8)


def by_hand(feature: torch.Tensor, codebook: Codebook, count: int, step: float) -> list[int]:
    """The plain reading: one vector, one word at a time."""
    rows, left, seen, found = codebook.embeddings.float(), feature.clone(), set(), []
    for _ in range(count):
        order = (rows @ left).argsort(descending=True).tolist()
        row = next(row for row in order if codebook.families[row] not in seen)
        left = left - step * (rows[row] @ left) * rows[row]
        seen.add(codebook.families[row])
        found.append(row)
    return found


@given(st.integers(1, 1000), st.sampled_from([0.0, 0.3, 1.0]))
@settings(max_examples=30, deadline=None)
def test_it_equals_the_plain_reading(seed: int, step: float) -> None:
    features = normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(seed)), dim=-1)
    assert words_together(CODEBOOK, features, 5, step).tolist() == [
        by_hand(feature, CODEBOOK, 5, step) for feature in features
    ]


def test_without_a_step_the_words_are_the_nearest() -> None:
    features = normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    assert torch.equal(
        words_together(CODEBOOK, features, 6, step=0.0), CODEBOOK.nearest_distinct(features, 6)[1]
    )


def test_two_things_in_one_image_are_both_named() -> None:
    words = normalize(torch.tensor([[1.0, 0, 0], [1.0, 0.1, 0], [1.0, 0, 0.1], [0, 1.0, 0]]), dim=-1)
    codebook = Codebook(
        tuple(Entry(word, (i,)) for i, word in enumerate(("tree", "oak", "elm", "car"))),
        words,
        CODEBOOK.source,
    )
    scene = normalize(torch.tensor([[1.0, 0.6, 0]]), dim=-1)
    assert 3 not in codebook.nearest_distinct(scene, 2)[1]
    assert 3 in words_together(codebook, scene, 2, step=1.0)


def test_the_rows_are_normalized_once_and_kept_for_one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    normalized: list[torch.Tensor] = []

    def noted(rows: torch.Tensor, dim: int) -> torch.Tensor:
        normalized.append(normalize(rows, dim=dim))
        return normalized[-1]

    monkeypatch.setattr(codebook_module, "normalize", noted)
    codebook = tiny_codebook(60, dim=8)
    features = normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    with torch.inference_mode():
        rows = words_together(codebook, features, 5)
    assert torch.equal(words_together(codebook, features, 5), rows)
    (kept,) = normalized
    assert codebook.unit_rows(features.device) is kept
    assert not kept.is_inference(), "gradients could not pass through it"
    assert codebook.family_numbers is codebook.family_numbers
    codebook.unit_rows(torch.device("meta"))
    assert len(codebook._unit_rows) == 1
    assert len(codebook.select([3, 5]).unit_rows(features.device)) == 2


def test_more_words_than_families_are_refused() -> None:
    with pytest.raises(V2LError, match="asked for 61 words"):
        words_together(CODEBOOK, CODEBOOK.embeddings[:1].float(), 61)
