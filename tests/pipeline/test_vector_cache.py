"""An image is encoded once, whatever its name, and again when its content changes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from v2l.errors import V2LError
from v2l.pipeline.image_words import WordSelection, read_image_words
from v2l.pipeline.pipeline import Pipeline
from v2l.pipeline.vector_cache import VectorStore


@pytest.fixture
def encoded(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each call of the encoder was given."""
    encoder, counts = pipeline.tokenizer.joint_encoder, []
    encode = encoder.encode_images
    monkeypatch.setattr(encoder, "encode_images", lambda images: counts.append(len(images)) or encode(images))
    return counts


def test_an_image_is_encoded_once_by_its_content(
    pipeline: Pipeline, samples: Path, tmp_path: Path, encoded: list[int]
) -> None:
    paths = sorted(samples.rglob("*.jpg"))[:5]
    first = read_image_words(pipeline.tokenizer, [*paths, *paths], WordSelection(3))
    assert list(first) == paths
    copy = Path(shutil.copy(paths[0], tmp_path / "another name.jpg"))
    second = read_image_words(pipeline.tokenizer, [copy, *paths], WordSelection(3))
    assert sum(encoded) == 5
    assert second[copy].words == first[paths[0]].words
    assert torch.equal(second[copy].vector, first[paths[0]].vector)


def test_a_changed_file_is_encoded_again(
    pipeline: Pipeline, samples: Path, tmp_path: Path, encoded: list[int]
) -> None:
    one, other, *_ = sorted(samples.rglob("*.jpg"))
    path = Path(shutil.copy(one, tmp_path / "image.jpg"))
    before = read_image_words(pipeline.tokenizer, [path], WordSelection(3))[path]
    shutil.copy(other, path)
    assert not torch.equal(
        read_image_words(pipeline.tokenizer, [path], WordSelection(3))[path].vector, before.vector
    )
    assert encoded == [1, 1]


def test_vectors_of_another_encoder_are_not_found(tmp_path: Path) -> None:
    one, other = (VectorStore(name, tmp_path / "vectors.sqlite") for name in ("one", "other"))
    one.keep({b"image": torch.tensor([0.1, 0.2])})
    assert torch.equal(one.find([b"image", b"none"])[b"image"], torch.tensor([0.1, 0.2]))
    assert other.find([b"image"]) == {}


def test_batches_do_not_matter(
    pipeline: Pipeline, samples: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    paths = sorted(samples.rglob("*.jpg"))
    together = read_image_words(pipeline.tokenizer, paths, WordSelection(3))
    monkeypatch.setenv("V2L_HOME", str(tmp_path / "empty"))
    alone = read_image_words(pipeline.tokenizer, paths[-1:], WordSelection(3))[paths[-1]]
    assert alone.words == together[paths[-1]].words
    torch.testing.assert_close(alone.vector, together[paths[-1]].vector, atol=1e-5, rtol=0)


def test_a_damaged_store_says_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "vectors.sqlite").write_bytes(b"no database at all, and long enough to be looked at" * 10)
    with pytest.raises(V2LError, match="try: rm"):
        VectorStore("one", tmp_path / "vectors.sqlite").find([b"image"])


def test_words_are_chosen_in_two_ways(pipeline: Pipeline, samples: Path) -> None:
    paths = sorted(samples.rglob("*.jpg"))[:4]
    near, together = (
        read_image_words(pipeline.tokenizer, paths, WordSelection(6, how)) for how in ("nearest", "together")
    )
    assert [near[path].words[0] for path in paths] == [together[path].words[0] for path in paths]
    assert any(near[path].words != together[path].words for path in paths)
    assert all(len(set(image.words)) == 6 for image in together.values())


@pytest.mark.parametrize("choice", [{"count": 0}, {"how": "farthest"}])
def test_choices_without_sense_are_refused(choice: dict) -> None:
    with pytest.raises(V2LError):
        WordSelection(**choice)
