"""Every readable image gets one vector, computed once, and unreadable files are listed."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Sequence
from errno import EACCES, EIO, EMFILE
from pathlib import Path

import pytest
import torch
from PIL import Image
from tiny_encoder import tiny_encoder

from v2l import archives
from v2l.encoders import JointEncoder
from v2l.encoders import image_features as module
from v2l.encoders.image_features import EncodingWork, encode_files, image_features
from v2l.encoders.patch_features import patch_features
from v2l.engines.engine import Engine
from v2l.errors import V2LError
from v2l.images import load_image, save_image
from v2l.shards import Shards
from v2l.sources import ImageFile, find_images, image_version

Features = Callable[[JointEncoder, Sequence[ImageFile], Shards], tuple[torch.Tensor, list[ImageFile]]]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> JointEncoder:
    """A CLIP with random weights."""
    return tiny_encoder(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images and two files that are none."""
    for name, value in (("a", 0.1), ("c", 0.5), ("e", 0.9)):
        save_image(torch.full((3, 9, 12), value), tmp_path / f"{name}.png")
    (tmp_path / "b.png").write_text("no image", encoding="utf-8")
    (tmp_path / "d.png").touch()
    return tmp_path


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
    monkeypatch.setattr(module, "BATCH", batch)
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


@pytest.mark.parametrize(
    "fault", [MemoryError(), *(OSError(code, os.strerror(code)) for code in (EACCES, EIO, EMFILE))]
)
@pytest.mark.parametrize("features", [image_features, patch_features])
def test_a_file_that_the_system_refuses_for_now_is_not_kept_as_unreadable(
    features: Features, fault: Exception, folder: Path, encoder: JointEncoder
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise fault

    files, shards = sorted(folder.glob("*.png")), Shards(folder / "work", "images")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image, "open", refuse)
        with pytest.raises(V2LError, match=r"a\.png is truncated, damaged or unreadable"):
            features(encoder, files, shards)
    rows, unreadable = features(encoder, files, shards)
    assert len(rows) == 3
    assert [file.name for file in unreadable] == ["b.png", "d.png"]


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


def test_the_features_of_a_compressed_archive_are_kept_for_the_next_process(
    folder: Path, encoder: JointEncoder
) -> None:
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
        tar.add(folder / "a.png", arcname="a.png")
    shards = Shards(folder / "work", "images")
    members = find_images(folder / "a.tar.gz")
    features, _ = image_features(encoder, members, shards)
    begin_process()
    versions = [(member, image_version(member)) for member in find_images(folder / "a.tar.gz")]
    assert shards.missing(versions, [encoder.fingerprint]) == []
    assert torch.equal(image_features(encoder, members, shards)[0], features)


def test_a_member_is_read_where_its_decompressed_copy_is_not(folder: Path) -> None:
    with tarfile.open(folder / "a.tar.gz", "w:gz") as tar:
        tar.add(folder / "a.png", arcname="a.png")
    (member,) = find_images(folder / "a.tar.gz")
    begin_process()
    assert torch.equal(load_image(member), load_image(folder / "a.png"))


def begin_process() -> None:
    """Forget the decompressed copies, as a new process does not know them, and delete their folder."""
    archives._scratch().cleanup()
    archives._scratch.cache_clear()
    archives._copy.cache_clear()


def test_the_workers_of_an_engine_give_the_same_vectors(folder: Path, encoder: JointEncoder) -> None:
    paths = sorted(folder.glob("*.png"))
    expected = encode_files(encoder, paths, Shards(folder / "here", "images", size=2))
    reports: list[tuple[str, int, int]] = []
    shards = Shards(folder / "work", "images", lambda *report: reports.append(report), size=2)
    parts = encode_files(encoder, paths, shards, Engine(workers=2, device="cpu"))
    torch.testing.assert_close(parts, expected, atol=1e-6, rtol=0, equal_nan=True)
    assert ("images", 5, 5) in reports
    reports.clear()
    encode_files(encoder, paths, shards, Engine(workers=2, device="cpu"))  # nothing is missing any more
    assert [done for _, done, _ in reports] == [2, 4, 5]  # of the shards, which are only read


def test_a_worker_with_another_encoder_under_the_same_name_is_refused(encoder: JointEncoder) -> None:
    with pytest.raises(V2LError, match=r"has the fingerprint .*; allowed: other, as here"):
        EncodingWork(encoder.name, "other", "cpu").load()
