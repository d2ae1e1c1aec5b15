"""Every readable image votes for five candidates, once, and files that are no images are listed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from v2l.codebook import filtering
from v2l.codebook.filtering import count_top_candidates, image_features
from v2l.codebook.shards import Shards
from v2l.encoders import JointEncoder
from v2l.errors import V2LError
from v2l.images import load_image, save_image


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
    votes = Counter(row for scores in (features @ words.T).tolist() for row in sorted(range(candidates), key=lambda row: -scores[row])[:5])
    assert counts.tolist() == [votes[row] for row in range(candidates)]
    assert counts.sum() == images * min(5, candidates)


@pytest.mark.parametrize("chunk", [1, 7, 50, 512])
def test_counts_do_not_depend_on_how_many_images_are_counted_at_once(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_features_do_not_depend_on_the_batch(batch: int, folder: Path, encoder: JointEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
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
    features, unreadable = image_features(encoder, [folder / "a.png", folder / "gone.png"], Shards(folder / "work", "images"))
    assert len(features) == 1
    assert unreadable == [folder / "gone.png"]


@pytest.mark.parametrize("names", [[], ["b.png"], ["b.png", "d.png", "gone.png"]])
def test_not_one_readable_image_is_refused(names: list[str], folder: Path, encoder: JointEncoder) -> None:
    with pytest.raises(V2LError, match=f"^none of {len(names)} files is a readable image; allowed: a folder with photographs"):
        image_features(encoder, [folder / name for name in names], Shards(folder / "work", "images"))
