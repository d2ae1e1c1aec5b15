"""Every readable image votes for five candidates, once, and files that are no images are listed."""

from __future__ import annotations

import tarfile
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from v2l.codebook import filtering
from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.codebook.filtering import (
    Rule,
    count_top_candidates,
    count_votes,
    encode_files,
    filter_candidates,
    image_features,
)
from v2l.encoders import JointEncoder
from v2l.errors import V2LError
from v2l.images import load_image, save_image
from v2l.processes import World
from v2l.shards import Shards
from v2l.sources import find_images


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


def test_features_are_those_of_the_images_and_the_rest_is_listed(folder: Path, encoder: JointEncoder) -> None:
    paths = sorted(folder.glob("*.png"))
    features, unreadable = image_features(encoder, paths, Shards(folder / "work", "images", size=2))
    assert [path.name for path in unreadable] == ["b.png", "d.png"]
    expected = torch.cat([encoder.encode_images(load_image(folder / f"{name}.png")[None]) for name in "ace"])
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_features_do_not_depend_on_the_batch(
    batch: int, folder: Path, encoder: JointEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = sorted(folder.glob("*.png"))
    expected, _ = image_features(encoder, paths, Shards(folder / "whole", "images"))
    monkeypatch.setattr(filtering, "BATCH", batch)
    features, _ = image_features(encoder, paths, Shards(folder / "work", "images"))
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)


def test_a_file_that_is_replaced_is_read_again(folder: Path, encoder: JointEncoder) -> None:
    paths, shards = sorted(folder.glob("*.png")), Shards(folder / "work", "images")
    image_features(encoder, paths, shards)
    save_image(torch.rand(3, 20, 20), folder / "b.png")
    features, unreadable = image_features(encoder, paths, shards)
    assert len(features) == 4
    assert [path.name for path in unreadable] == ["d.png"]


def test_a_file_that_is_gone_is_listed(folder: Path, encoder: JointEncoder) -> None:
    features, unreadable = image_features(
        encoder, [folder / "a.png", folder / "gone.png"], Shards(folder / "work", "images")
    )
    assert len(features) == 1
    assert unreadable == [folder / "gone.png"]


@pytest.mark.parametrize("names", [[], ["b.png"], ["b.png", "d.png", "gone.png"]])
def test_not_one_readable_image_is_refused(names: list[str], folder: Path, encoder: JointEncoder) -> None:
    with pytest.raises(
        V2LError,
        match=f"^none of {len(names)} files is a readable image(; the first: .*b.png is no image.*)?; allowed: ",
    ):
        image_features(encoder, [folder / name for name in names], Shards(folder / "work", "images"))


def test_an_encoder_without_numbers_is_refused_and_leaves_no_part(
    folder: Path, encoder: JointEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        encoder, "encode_images", lambda images: torch.full((len(images), encoder.dim), torch.nan)
    )
    with pytest.raises(
        V2LError,
        match=r"gives NaN or infinity for .*a\.png or one of the 2 images after it; allowed: finite numbers",
    ):
        image_features(encoder, sorted(folder.glob("*.png")), Shards(folder / "work", "images"))
    assert not (folder / "work").exists()


def test_images_in_a_shard_have_the_features_of_the_files(folder: Path, encoder: JointEncoder) -> None:
    paths = sorted(folder.glob("*.png"))
    with tarfile.open(folder / "shard.tar", "w") as tar:
        for path in paths:
            tar.add(path, arcname=path.name)
    members = find_images(folder / "shard.tar")
    plain, packed = (
        image_features(encoder, files, Shards(folder / "work", "images")) for files in (paths, members)
    )
    assert torch.equal(plain[0], packed[0])
    assert [file.name for file in plain[1]] == [file.name for file in packed[1]]


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
    assert kept.facts["seen_by_at_least"] == {"1": 4, "2": 3, "5": 2, "10": 1, "20": 1, "50": 1}
    assert (kept.facts["candidates"], kept.facts["min_count"], kept.facts["keep_share"]) == (5, 2, 0.6)
    assert filter_candidates(candidates, Rule(0)).entries == entries
