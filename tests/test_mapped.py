"""Parts are joined on the disk, with nothing left behind."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from v2l.errors import V2LError
from v2l.mapped import PickedRows, on_disk


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int64])
def test_parts_are_joined_in_order_and_rounded(dtype: torch.dtype, tmp_path: Path) -> None:
    parts = [torch.arange(12.0).view(4, 3), torch.arange(12.0, 18.0).view(2, 3)]
    joined = on_disk(iter(parts), tmp_path / "work", dtype)
    assert joined.dtype == dtype
    assert torch.equal(joined, torch.arange(18).view(6, 3).to(dtype))
    assert not list((tmp_path / "work").iterdir())


def test_what_is_written_to_it_stays_with_its_reader(tmp_path: Path) -> None:
    joined = on_disk([torch.zeros(2, 2)], tmp_path, torch.float32)
    joined += 1
    assert torch.equal(joined, torch.ones(2, 2))


def test_no_parts_give_no_rows(tmp_path: Path) -> None:
    assert len(on_disk([], tmp_path, torch.float32)) == 0
    assert on_disk([torch.empty(0, 5)], tmp_path, torch.float16).shape == (0, 5)


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_work_that_is_stopped_leaves_no_file(tmp_path: Path, stop: type[BaseException]) -> None:
    def parts() -> object:
        yield torch.zeros(3, 2)
        raise stop

    with pytest.raises(stop):
        on_disk(parts(), tmp_path, torch.float32)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(V2LError, match="could not write"):
            on_disk([torch.zeros(1000), torch.zeros(9000)], tmp_path, torch.float32)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_no_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file", encoding="utf-8")
    with pytest.raises(V2LError, match="could not write"):
        on_disk([torch.zeros(1, 1)], tmp_path / "work", torch.float32)


def test_picked_rows_are_read_when_they_are_asked_for() -> None:
    tensor = torch.arange(20).view(10, 2)
    even = PickedRows.all_of(tensor).pick(torch.arange(10) % 2 == 0)
    assert even.shape == (5, 2)
    assert even[[1, 0]].tolist() == [[4, 5], [0, 1]]
    assert torch.equal(even.pick(torch.tensor([4]))[:], tensor[8:9])
    assert [part.tolist() for part in even.parts(2, every=2)] == [[[0, 1], [8, 9]], [[16, 17]]]
    assert even.tensor is tensor
