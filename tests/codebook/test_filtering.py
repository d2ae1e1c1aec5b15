"""Every readable image votes for its five nearest candidates, once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from v2l.codebook import filtering
from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.codebook.filtering import Rule, count_top_candidates, count_votes, filter_candidates
from v2l.encoders import JointEncoder
from v2l.encoders.image_features import encode_files, image_features
from v2l.errors import V2LError
from v2l.images import save_image
from v2l.processes import World
from v2l.shards import Shards


def unit(rows: int, dim: int, seed: int) -> torch.Tensor:
    return functional.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images and two files that are none."""
    for name, value in (("a", 0.1), ("c", 0.5), ("e", 0.9)):
        save_image(torch.full((3, 9, 12), value), tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_text("no image", encoding="utf-8")
    (tmp_path / "d.png").touch()
    return tmp_path


@given(images=st.integers(1, 40), candidates=st.integers(1, 30), seed=st.integers(0, 9))
@settings(max_examples=25, deadline=None)
def test_counts_are_those_of_a_plain_sort_and_add_up(images: int, candidates: int, seed: int) -> None:
    features, words = unit(images, 8, seed), unit(candidates, 8, seed + 100)
    counts = count_top_candidates(features, words)
    votes = Counter(
        row
        for scores in (features @ words.T).tolist()
        for row in sorted(range(candidates), key=lambda row: -scores[row])[:5]
    )
    assert counts.tolist() == [votes[row] for row in range(candidates)]
    assert counts.sum() == images * min(5, candidates)


@pytest.mark.parametrize("chunk", [1, 7, 50, 512])
def test_counts_do_not_depend_on_how_many_images_are_counted_at_once(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, words = unit(50, 8, 0), unit(20, 8, 1)
    expected = count_top_candidates(features, words)
    monkeypatch.setattr(filtering, "CHUNK", chunk)
    assert torch.equal(count_top_candidates(features, words), expected)


def test_no_images_give_no_votes() -> None:
    assert count_top_candidates(torch.empty(0, 8), unit(6, 8, 0)).tolist() == [0] * 6


@pytest.mark.parametrize("processes", [1, 2, 3])
def test_votes_are_the_same_however_many_processes_count(
    processes: int, folder: Path, encoder: JointEncoder
) -> None:
    parts = encode_files(encoder, sorted(folder.glob("*.png")), Shards(folder / "work", "images", size=1))
    words = unit(30, encoder.dim, 0)
    shares: list[torch.Tensor] = []

    class Counting(World):
        def total(self, tensor: torch.Tensor) -> torch.Tensor:
            shares.append(tensor)
            return tensor

    for index in range(processes):
        count_votes(parts, words, Counting(index, processes))
    features, _ = image_features(
        encoder, sorted(folder.glob("*.png")), Shards(folder / "work", "images", size=1)
    )
    assert torch.equal(sum(shares), count_top_candidates(features, words))
    assert sum(shares).sum() == 5 * 3, "files that are no images have no vote"


def test_a_rule_keeps_by_votes_by_number_and_by_share() -> None:
    counts = torch.tensor([3, 0, 5, 1, 5, 0, 2, 1, 1, 0])
    assert Rule(0).rows(counts).tolist() == list(range(10))
    assert Rule(2).rows(counts).tolist() == [0, 2, 4, 6]
    assert Rule(0, keep=3).rows(counts).tolist() == [0, 2, 4]
    assert Rule(1, keep_share=0.5).rows(counts).tolist() == [0, 2, 3, 4, 6], "of equals the first"
    assert Rule(1, keep=9, keep_share=0.2).rows(counts).tolist() == [2, 4], "the narrower limit"
    assert Rule(4, keep_share=0.9).rows(counts).tolist() == [2, 4]
    assert Rule(0, keep_share=0.01).rows(counts).tolist() == [2], "less than one word is one"


@pytest.mark.parametrize(
    ("text", "rule"),
    [("2000", Rule(1, 2000)), ("20%", Rule(1, keep_share=0.2)), ("0.5%", Rule(1, keep_share=0.005))],
)
def test_a_limit_is_typed_as_number_or_share(text: str, rule: Rule) -> None:
    assert Rule.parse(1, text) == rule


@pytest.mark.parametrize("text", ["", "0", "-3", "many", "2.5", "0%", "101%", "nan%", "%"])
def test_another_limit_is_refused(text: str) -> None:
    with pytest.raises(V2LError, match=r"got --keep .*; allowed: a number of words, or a share"):
        Rule.parse(1, text)


def test_a_new_threshold_needs_the_counts_alone() -> None:
    entries = tuple(Entry(f"word{row}", (row,), count=count) for row, count in enumerate([0, 7, 1, 60, 2]))
    candidates = Codebook(entries, unit(5, 8, 0), Source("l", "l", "e", "e"), {"images": 70})
    kept = filter_candidates(candidates, Rule(2, keep_share=0.6))
    assert kept.words == ("word1", "word3", "word4")
    assert kept.metadata["seen_by_at_least"] == {"1": 4, "2": 3, "5": 2, "10": 1, "20": 1, "50": 1}
    assert (kept.metadata["candidates"], kept.metadata["min_count"], kept.metadata["keep_share"]) == (
        5,
        2,
        0.6,
    )
    assert filter_candidates(candidates, Rule(0)).entries == entries
