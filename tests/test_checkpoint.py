"""A directory on disk is whole, of the requested kind, and unchanged, or it is refused in one line."""

from __future__ import annotations

import json
import os
import resource
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from v2l.checkpoint import (
    file_hash,
    load_tensors,
    read_manifest,
    save_tensors,
    write_directory,
    write_manifest,
)
from v2l.errors import V2LError

MANIFEST = {"kind": "codebook", "schema": 2, "words": ["fire truck", "Feuerwehr – 消防車"]}
TENSORS = {"a": torch.arange(6, dtype=torch.float32).reshape(2, 3), "b": torch.tensor([7, 8])}


def write_sample(directory: Path) -> None:
    with write_directory(directory) as folder:
        save_tensors(folder / "weights.safetensors", TENSORS)
        write_manifest(folder, MANIFEST)


def write_and_stop(directory: Path, stop: type[BaseException]) -> None:
    with write_directory(directory) as folder:
        (folder / "half").touch()
        raise stop


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write_sample(tmp_path / "codebook")
    return tmp_path / "codebook"


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """The system refuses files above `size` bytes, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_was_written_is_read(directory: Path) -> None:
    manifest = read_manifest(directory, "codebook", 2)
    entry = manifest.pop("files")["weights.safetensors"]
    assert manifest == MANIFEST
    tensors = load_tensors(directory / "weights.safetensors", entry["sha256"])
    assert tensors.keys() == TENSORS.keys()
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


@given(
    shapes=st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=1, max_size=3),
    dtype=st.sampled_from(
        [torch.float32, torch.float16, torch.bfloat16, torch.int8, torch.int64, torch.bool]
    ),
)
@settings(max_examples=30, deadline=None)
def test_tensors_of_any_shape_and_dtype_come_back_bit_equal(
    shapes: list[list[int]], dtype: torch.dtype
) -> None:
    tensors = {f"t{index}": torch.randn(shape).mul(3).to(dtype) for index, shape in enumerate(shapes)}
    with tempfile.TemporaryDirectory() as folder:
        sha256 = save_tensors(Path(folder) / "t.safetensors", tensors)
        loaded = load_tensors(Path(folder) / "t.safetensors", sha256)
    assert loaded.keys() == tensors.keys()
    assert all(loaded[name].dtype == dtype and torch.equal(loaded[name], tensors[name]) for name in tensors)


def test_a_transposed_view_is_saved_as_it_is_seen(tmp_path: Path) -> None:
    view = torch.arange(6).reshape(2, 3).T
    save_tensors(tmp_path / "t.safetensors", {"view": view})
    assert torch.equal(load_tensors(tmp_path / "t.safetensors")["view"], view)


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=30, deadline=None)
def test_a_truncated_tensor_file_is_refused_wherever_it_ends(share: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.safetensors"
        save_tensors(path, TENSORS)
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
        with pytest.raises(V2LError, match="truncated"):
            load_tensors(path)


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(max_examples=30, deadline=None)
def test_one_changed_byte_is_noticed(place: float, flip: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_sample(Path(folder) / "d")
        path = Path(folder) / "d" / "weights.safetensors"
        content = bytearray(path.read_bytes())
        content[int(place * len(content))] ^= flip
        path.write_bytes(content)
        with pytest.raises(V2LError, match="sha256"):
            read_manifest(Path(folder) / "d", "codebook", 2)


def test_a_wrong_hash_is_refused_with_both_values(directory: Path) -> None:
    path = directory / "weights.safetensors"
    with pytest.raises(V2LError, match=rf"sha256 {file_hash(path)[:12]}….*allowed: 0{{12}}…"):
        load_tensors(path, "0" * 64)


def test_a_missing_tensor_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(V2LError, match="there is no file"):
        load_tensors(tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (lambda d: (d / "weights.safetensors").unlink(), "weights.safetensors is missing"),
        (lambda d: (d / "weights.safetensors").write_bytes(b"short"), "has 5 bytes"),
        (lambda d: (d / "manifest.json").unlink(), "holds no manifest.json"),
        (lambda d: (d / "manifest.json").write_text('{"kind": "code'), "truncated or no JSON"),
        (lambda d: (d / "manifest.json").write_bytes(b"\xff\xfe"), "truncated or no JSON"),
        (lambda d: (d / "manifest.json").write_text("[]"), "does not list its files"),
        (lambda d: (d / "manifest.json").write_text('{"files": {"a": {}}}'), "does not list its files"),
        (lambda d: shutil.rmtree(d), "is no directory"),
    ],
)
def test_a_spoilt_directory_is_refused(directory: Path, spoil: object, complaint: str) -> None:
    spoil(directory)
    with pytest.raises(V2LError, match=complaint):
        read_manifest(directory, "codebook", 2)


def test_another_kind_or_schema_is_refused_with_both_values(directory: Path) -> None:
    with pytest.raises(V2LError, match="kind 'codebook'; allowed: kind 'tokenizer'"):
        read_manifest(directory, "tokenizer", 2)
    with pytest.raises(V2LError, match="schema 2; allowed: schema 3"):
        read_manifest(directory, "codebook", 3)


def test_a_manifest_must_say_its_kind_and_schema(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="kind and its schema"):
        write_manifest(tmp_path, {"kind": "codebook"})


def test_the_manifest_is_readable_json_and_lists_files_of_subdirectories(tmp_path: Path) -> None:
    with write_directory(tmp_path / "outer") as folder:
        write_sample(folder / "inner")
        write_manifest(folder, {"kind": "pair", "schema": 1})
    written = json.loads((tmp_path / "outer" / "manifest.json").read_text(encoding="utf-8"))
    assert sorted(written["files"]) == ["inner/manifest.json", "inner/weights.safetensors"]
    assert "消防車" in (tmp_path / "outer" / "inner" / "manifest.json").read_text(encoding="utf-8")
    read_manifest(tmp_path / "outer", "pair", 1)
    read_manifest(tmp_path / "outer" / "inner", "codebook", 2)


def test_a_directory_is_replaced_whole(directory: Path) -> None:
    with write_directory(directory) as folder:
        write_manifest(folder, {"kind": "other", "schema": 1})
    assert [path.name for path in directory.iterdir()] == ["manifest.json"]
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError, OSError])
def test_a_stopped_write_leaves_the_old_directory_intact(directory: Path, stop: type[BaseException]) -> None:
    with pytest.raises(stop):
        write_and_stop(directory, stop)
    read_manifest(directory, "codebook", 2)
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]


def test_a_killed_process_leaves_the_old_directory_intact(directory: Path) -> None:
    child = os.fork()
    if child == 0:
        with write_directory(directory) as folder:
            (folder / "half").touch()
            os._exit(9)
    os.waitpid(child, 0)
    assert read_manifest(directory, "codebook", 2)["kind"] == "codebook"
    assert not (directory / "half").exists()


def test_a_failed_last_rename_gives_the_old_directory_its_name_back(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename, calls = Path.replace, []

    def second_fails(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    with pytest.raises(V2LError, match="Input/output error"), write_directory(directory):
        monkeypatch.setattr(Path, "replace", second_fails)
    monkeypatch.undo()
    read_manifest(directory, "codebook", 2)
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]


def test_a_full_disk_while_writing_tensors_leaves_everything_as_it_was(directory: Path) -> None:
    with (
        no_file_above(10_000),
        pytest.raises(V2LError, match=r"could not write .*large\.safetensors"),
        write_directory(directory) as folder,
    ):
        save_tensors(folder / "large.safetensors", {"large": torch.zeros(10_000)})
    read_manifest(directory, "codebook", 2)
    assert [path.name for path in directory.parent.iterdir()] == [directory.name]


def test_tensors_that_cannot_fit_are_refused_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_000_000))
    with pytest.raises(V2LError, match="needs 4 MB and the disk has 1 MB free"):
        save_tensors(tmp_path / "large.safetensors", {"large": torch.zeros(1_000_000)})
    assert list(tmp_path.iterdir()) == []


def test_somebody_s_own_files_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").touch()
    with pytest.raises(V2LError, match="files that v2l did not write"), write_directory(tmp_path / "photos"):
        pass
    assert (tmp_path / "photos" / "holiday.jpg").exists()
    with pytest.raises(V2LError, match="is a file"), write_directory(tmp_path / "photos" / "holiday.jpg"):
        pass


def test_a_mount_point_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "volume").mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name == "volume")
    with (
        pytest.raises(V2LError, match=r"volume is a mount point.*; try: -o .*volume/result"),
        write_directory(tmp_path / "volume"),
    ):
        pytest.fail("the work began")


def test_names_with_bytes_that_are_no_utf8_are_written_and_read(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    with write_directory(folder) as draft:
        save_tensors(draft / "weights.safetensors", TENSORS)
        write_manifest(draft, {"kind": "codebook", "schema": 2, "images": str(folder)})
    assert read_manifest(folder, "codebook", 2)["images"] == str(folder)
    tensors = load_tensors(folder / "weights.safetensors")
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    (folder / "weights.safetensors").write_bytes(b"short")
    with pytest.raises(V2LError, match="is truncated or no safetensors file"):
        load_tensors(folder / "weights.safetensors")


def test_an_empty_directory_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write_sample(tmp_path / "empty")
    assert read_manifest(tmp_path / "empty", "codebook", 2)["kind"] == "codebook"
