"""A run gives every image once, whatever is killed, and the same bytes for any workers and batch."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tiny_pictures import picture
from tiny_work import Deadly

from v2l.engines import local
from v2l.errors import V2LError
from v2l.tokenization.detokenize import read_rows
from v2l.tokenization.plan import Settings
from v2l.tokenization.run import Request, Summary, tokenize
from v2l.tokenization.storage import Storage
from v2l.tokenization.verify import require_whole, verify
from v2l.tokenization.worker import count_images

Start = Callable[..., Summary]


def hashes(folder: Path) -> dict[str, bytes]:
    """Every file of an output with its bytes; the manifest names the place of the input, and is left out."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("manifest.json", ".lock")
    }


@pytest.fixture(scope="module")
def undisturbed(pictures: Path, checkpoint: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    request = Request([str(pictures)], str(folder), checkpoint, workers=0, settings=Settings(5), device="cpu")
    assert tokenize(request).images == 21
    return folder


def test_every_image_is_a_row_or_a_line_of_the_side_table(pictures: Path, undisturbed: Path) -> None:
    rows = [
        row for path in sorted(undisturbed.glob("part-*.parquet")) for row in pq.read_table(path).to_pylist()
    ]
    errors = [
        row for path in sorted((undisturbed / "errors").glob("*")) for row in pq.read_table(path).to_pylist()
    ]
    names = [
        path.relative_to(pictures).as_posix()
        for path in pictures.rglob("*")
        if path.suffix in (".png", ".jpg")
    ]
    assert sorted([row["id"] for row in rows] + [row["id"] for row in errors]) == sorted(names)
    assert {row["id"]: row["reason"] for row in errors} == {
        "0/cut.png": "unreadable",
        "0/empty.jpg": "unreadable",
    }
    first = next(row for row in rows if row["id"] == "1/001.jpg")
    assert (first["width"], first["height"]) == (16, 13)
    assert len(first["words"]) == len(first["scores"]) == len(first["ids"]) == len(first["boxes"]) // 4


@pytest.mark.parametrize(("workers", "in_memory"), [(0, 1), (2, 32)])
def test_workers_and_batches_do_not_change_a_byte(
    run: Start, pictures: Path, undisturbed: Path, tmp_path: Path, workers: int, in_memory: int
) -> None:
    run(pictures, tmp_path / "out", workers=workers, in_memory=in_memory)
    assert hashes(tmp_path / "out") == hashes(undisturbed)


def test_the_same_command_computes_only_what_is_missing_or_damaged(
    run: Start, pictures: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    (out / "part-000001.parquet").unlink()
    (out / "receipts" / "part-000003.json").write_text("{")
    (out / ".v2l-0123456789abcdef.parquet").write_bytes(b"half-written by a run that was killed")
    assert run(pictures, out).resumed == 3
    assert hashes(out) == hashes(undisturbed)


def test_killed_workers_are_replaced(
    run: Start, pictures: Path, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    start = local._start

    def start_and_kill(job: Any) -> local.Worker:
        worker = start(job)
        if len(started) < 2:
            threading.Timer(0.2 * len(started), os.kill, (worker.process.pid, signal.SIGKILL)).start()
        started.append(worker)
        return worker

    monkeypatch.setattr(local, "_start", start_and_kill)
    run(pictures, tmp_path / "out", workers=1)
    assert len(started) == 3
    assert hashes(tmp_path / "out") == hashes(undisturbed)


def test_a_shard_that_kills_its_workers_is_left_out_and_named(
    run: Start, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = local._start

    monkeypatch.setattr(local, "_start", lambda job: start(Deadly(with_item=True)))
    with pytest.raises(V2LError, match="workers died again and again in 1 shard"):
        run(pictures, tmp_path / "out", workers=1, shard=100)


def test_a_second_run_in_the_same_folder_is_refused(run: Start, pictures: Path, tmp_path: Path) -> None:
    with Storage(str(tmp_path / "out")).locked(), pytest.raises(V2LError, match="another run writes into"):
        run(pictures, tmp_path / "out")


def test_changed_inputs_and_settings_are_refused_with_both_values(
    run: Start, pictures: Path, undisturbed: Path, tmp_path: Path
) -> None:
    out, copy = tmp_path / "out", tmp_path / "pictures"
    shutil.copytree(undisturbed, out)
    with pytest.raises(V2LError, match=r"settings shard = 5, and now it is 6"):
        run(pictures, out, shard=6)
    shutil.copytree(pictures, copy)
    run(copy, out)  # moved, with the same names, sizes and times
    (copy / "1" / "new.png").write_bytes((copy / "1" / "001.jpg").read_bytes())
    with pytest.raises(V2LError, match=r"input files = 23, and now it is 24"):
        run(copy, out)
    with pytest.raises(V2LError, match=r"tokenizer name = 'tiny-quarters', and now it is 'v2l'"):
        run(pictures, out, tokenizer="v2l")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_a_list_with_other_captions_or_paths_is_refused(run: Start, tmp_path: Path, suffix: str) -> None:
    def write(folder: Path, **row: str) -> Path:
        lines = {".csv": ",".join(row) + "\n" + ",".join(row.values()), ".jsonl": json.dumps(row)}
        (folder / f"list{suffix}").write_text(lines[suffix])
        return folder / f"list{suffix}"

    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).write_bytes(picture(1))
        os.utime(tmp_path / "in" / name, (1, 1))
    first = {"path": "a.png", "id": "x", "caption": "a hat"}
    run(write(tmp_path / "in", **first), tmp_path / "out")
    shutil.copytree(tmp_path / "in", tmp_path / "moved")
    assert run(tmp_path / "moved" / f"list{suffix}", tmp_path / "out").resumed == 1
    for change in ({"caption": "a cap"}, {"path": "b.png"}):
        with pytest.raises(V2LError, match="input fingerprint = "):
            run(write(tmp_path / "in", **{**first, **change}), tmp_path / "out")


def test_a_folder_with_other_files_is_refused(run: Start, pictures: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(V2LError, match=r"holds thesis\.tex and no manifest\.json"):
        run(pictures, tmp_path)


def test_files_of_other_programs_stay(run: Start, pictures: Path, tmp_path: Path) -> None:
    theirs = [tmp_path / ".v2l-0.safetensors", tmp_path / "training" / ".v2l-1.safetensors"]
    theirs[1].parent.mkdir()
    for path in theirs:
        path.touch()
    with pytest.raises(V2LError, match=r"holds training and no manifest\.json"):
        run(pictures, tmp_path)
    assert all(path.exists() for path in theirs)
    (tmp_path / "out" / ".v2l-folder").mkdir(parents=True)
    assert run(pictures, tmp_path / "out").images == 21


def test_a_disk_without_locks_is_one_line(
    run: Start, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(V2LError, match=r"cannot lock .*out \(No locks available\)"):
        run(pictures, tmp_path / "out")


def test_a_folder_may_have_the_signs_of_a_pattern_in_its_name(
    run: Start, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a[1]*?"
    out.mkdir()
    (out / "thesis.tex").touch()
    with pytest.raises(V2LError, match=r"holds thesis\.tex and no manifest\.json"):
        run(pictures, out)
    (out / "thesis.tex").unlink()
    run(pictures, out)
    assert len(list(read_rows(str(out)))) == 21
    assert count_images(Storage(str(out))) == 21


def test_verify_finds_changed_bytes_and_duplicate_ids(run: Start, undisturbed: Path, tmp_path: Path) -> None:
    report = verify(str(undisturbed))
    assert (report.images, report.shards, report.problems, report.duplicates) == (21, 5, [], 0)
    out = tmp_path / "out"
    shutil.copytree(undisturbed, out)
    part = out / "part-000002.parquet"
    content = bytearray(part.read_bytes())
    content[40] ^= 1
    part.write_bytes(bytes(content))
    with pytest.raises(V2LError, match="was changed after it was written"):
        require_whole(verify(str(out)), str(out))


def test_a_bucket_works_as_a_folder_does(run: Start, pictures: Path, undisturbed: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.put(str(pictures), "/bucket/pictures", recursive=True)
    summary = run("memory://bucket/pictures", "memory://bucket/out")
    expected = json.loads((undisturbed / "summary.json").read_text())
    assert (summary.images, summary.sha256) == (21, expected["sha256"])
    assert run("memory://bucket/pictures", "memory://bucket/out").resumed == 5
    assert verify("memory://bucket/out").images == 21


@pytest.mark.parametrize("place", ["memory://nobucket/x", "s4://bucket", "/no/folder", "hf:/no/folder"])
def test_a_place_that_is_not_there_is_one_line(run: Start, tmp_path: Path, place: str) -> None:
    with pytest.raises(V2LError, match="cannot"):
        run(place, tmp_path / "out")
