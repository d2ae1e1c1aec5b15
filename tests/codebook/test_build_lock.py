"""A killed build goes on to the same bytes, and no build quietly replaces or restarts another one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_encoder import tiny_encoder

from v2l.checkpoint import write_manifest
from v2l.codebook.build import CodebookBuilder
from v2l.codebook.build_lock import locked_settings
from v2l.codebook.codebook import Codebook
from v2l.errors import V2LError

Make = Callable[..., CodebookBuilder]
HERE = Path(__file__).resolve().parent


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_a_build_that_is_killed_three_times_ends_in_the_same_bytes(samples: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, str(HERE / "killed_builds.py"), str(samples), str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    deaths = [line.split(", ") for line in done.stdout.splitlines() if line.startswith("signal")]
    assert [(signal, target) for signal, _, target in deaths] == [("signal -9", "target False")] * 3
    parts = [int(part.split()[0]) for _, part, _ in deaths]
    assert 0 < parts[0] < parts[1] < parts[2], "each went on behind the one before"
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert {path.name for path in (tmp_path / "killed-work").iterdir()} >= {
        path.name for path in (tmp_path / "whole-work").iterdir()
    }


def test_a_finished_build_is_not_replaced_by_one_with_other_settings(
    builder: Make, photographs: list[Path], tmp_path: Path
) -> None:
    target = tmp_path / "built"
    builder(min_count=1).build(photographs, target)
    before = contents(target)
    with pytest.raises(
        V2LError,
        match=r"built was built with min_count = 1, and now it is 2; .*; try: --replace, or another -o",
    ):
        builder(min_count=2).build(photographs, target)
    assert contents(target) == before
    builder(min_count=1).build(photographs, target)
    assert contents(target) == before
    builder(min_count=2).build(photographs, target, replace_other=True)
    assert min(entry.count for entry in Codebook.load(target / "global").entries) >= 2


def test_another_encoder_does_not_replace_a_build(
    builder: Make, photographs: list[Path], tmp_path: Path
) -> None:
    target = tmp_path / "built"
    builder().build(photographs, target)
    other = tiny_encoder(tmp_path / "other", seed=1)
    with pytest.raises(
        V2LError, match=f"with encoder_fingerprint = '.*', and now it is '{other.fingerprint}'"
    ):
        replace(builder(), encoder=other).build(photographs, target)


def test_a_build_that_was_stopped_goes_on_with_its_own_settings_only(
    builder: Make, photographs: list[Path], tmp_path: Path
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    target = tmp_path / "built"
    with pytest.raises(KeyboardInterrupt):
        builder(progress=stop).build(photographs, target)
    with pytest.raises(
        V2LError,
        match=r"a build to .*built was started with templates = \['a photo of a \{\}', 'the \{\}'\], and now it is",
    ):
        builder(templates=("one {}",)).build(photographs, target)
    assert not target.exists()
    builder(templates=("one {}",)).build(photographs, tmp_path / "elsewhere")
    builder().build(photographs, target)
    assert not list((tmp_path / "work").glob("begun-*")), "a finished build leaves no note"


def test_two_builds_to_one_target_may_end_one_after_the_other(tmp_path: Path) -> None:
    manifest = {"kind": "codebooks", "source": {}, "config": {"images": "\udcff"}}
    first, second = (locked_settings(tmp_path / "built", tmp_path, manifest, False) for _ in range(2))
    with first, second:
        assert len(list(tmp_path.glob("begun-*"))) == 1
    assert not list(tmp_path.glob("begun-*"))


def test_a_failed_build_without_its_note_says_why_it_failed(tmp_path: Path) -> None:
    manifest = {"kind": "codebooks", "source": {}, "config": {}}
    first, second = (locked_settings(tmp_path / "built", tmp_path, manifest, False) for _ in range(2))
    with pytest.raises(V2LError, match="no words"), first, second:
        raise V2LError("no words")


def test_a_build_that_failed_may_be_tried_with_other_settings(
    builder: Make, photographs: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(V2LError, match="the codebook has no words"):
        builder(min_count=10**6).build(photographs, tmp_path / "built")
    builder().build(photographs, tmp_path / "built")


def test_what_is_no_build_is_never_replaced(builder: Make, photographs: list[Path], tmp_path: Path) -> None:
    (checkpoint := tmp_path / "checkpoint").mkdir()
    write_manifest(checkpoint, {"kind": "tokenizer", "schema": 1})
    with pytest.raises(
        V2LError,
        match="checkpoint is of kind 'tokenizer'; allowed: a new directory, or one of kind 'codebooks'",
    ):
        builder().build(photographs, checkpoint, replace_other=True)
    assert len(contents(checkpoint)) == 1


def test_two_processes_build_what_one_builds(
    builder: Make, samples: Path, photographs: list[Path], tmp_path: Path
) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    command = [*launch, str(HERE / "two_processes.py"), str(samples), str(tmp_path / "two")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    lines = sorted(line.split(", ") for line in done.stdout.splitlines() if "processes" in line)
    assert [line[0] for line in lines] == ["2 processes"] * 2, done.stderr[-2000:]
    images = [int(line[2].split()[0]) for line in lines]
    assert sum(images) == len(photographs), "every image was encoded once"
    assert min(images) >= 5, "and each process had its share"
    _, words = builder(templates=("the {}",)).build(photographs, tmp_path / "one", keep_candidates=True)
    for name in ("local", "global", "candidates"):
        assert (tmp_path / "two" / name / "entries.jsonl").read_bytes() == (
            tmp_path / "one" / name / "entries.jsonl"
        ).read_bytes()
    assert {line[1] for line in lines} == {f"{len(words)} words"}
