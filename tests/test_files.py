"""Files are written whole or not at all."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from v2l.checkpoint import save_tensors
from v2l.errors import V2LError
from v2l.files import require_space, write_file


def write_and_stop(target: Path, stop: type[BaseException]) -> None:
    with write_file(target) as temporary:
        temporary.write_text("half")
        raise stop


def write_to_a_full_disk(target: Path) -> None:
    with write_file(target) as temporary:
        temporary.touch()
        Path("/dev/full").write_bytes(b"x" * 10_000)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_finished_block_makes_the_file_and_its_folders(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder" / "a.txt"
    with write_file(target) as temporary:
        temporary.write_text("done")
        assert not target.exists(), "nothing is visible before the block ends"
        assert temporary.suffix == ".txt"
    assert target.read_text() == "done"
    assert names(target.parent) == ["a.txt"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError, OSError])
def test_a_stopped_block_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(V2LError if stop is OSError else stop):
        write_and_stop(target, stop)
    assert target.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's always full device")
def test_a_full_disk_gives_one_line_that_names_the_target(tmp_path: Path) -> None:
    with pytest.raises(V2LError, match=r"could not write .*a\.txt: No space left on device"):
        write_to_a_full_disk(tmp_path / "a.txt")
    assert names(tmp_path) == []


def test_a_file_in_the_place_of_a_folder_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(V2LError, match="could not write"), write_file(tmp_path / "file" / "a.txt"):
        pass


@pytest.mark.parametrize("target", ["/dev/null", "."])
def test_devices_and_folders_are_never_replaced(target: str) -> None:
    with pytest.raises(V2LError, match="not an ordinary file"), write_file(target):
        pass
    assert not Path("/dev/null").is_file()


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "real" / "a.txt")
    with write_file(link) as temporary:
        temporary.write_text("through")
    assert link.is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "through"


def test_new_files_have_the_user_s_usual_permissions(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    with write_file(tmp_path / "ours") as temporary:
        temporary.touch()
    assert (tmp_path / "ours").stat().st_mode == plain.stat().st_mode


def test_what_safetensors_writes_has_them_too(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    save_tensors(tmp_path / "tensors.safetensors", {"a": torch.ones(2)})
    assert (tmp_path / "tensors.safetensors").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_too_little_room_is_refused_with_both_figures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=3_000_000))
    require_space(tmp_path / "missing" / "fits", 3_000_000)
    with pytest.raises(V2LError, match=r"needs 8 MB and the disk has 3 MB free"):
        require_space(tmp_path / "missing" / "large", 8_000_000)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_gives_one_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(V2LError, match="Permission denied"), write_file(tmp_path / "a.txt") as temporary:
        temporary.touch()
