"""An engine computes every item once, whoever computes it, and says which it could not."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_work import Deadly, Squares, Threads, Visible

from v2l.engines import engine, local
from v2l.engines.engine import Engine, gpus_of
from v2l.engines.local import TRIES, run_local
from v2l.engines.ray import WorkActor
from v2l.errors import V2LError
from v2l.tokenization import batch


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_item_has_one_result_with_any_number_of_workers(workers: int, tmp_path: Path) -> None:
    events = list(Engine(workers=workers, device="cpu").run(Squares(tmp_path), range(5)))
    assert sorted(value for kind, value in events if kind == "result") == [0, 1, 4, 9, 16]
    assert sum(value for kind, value in events if kind == "images") == 5


def test_without_items_nothing_is_started(tmp_path: Path) -> None:
    assert list(Engine(workers=2, device="cpu").run(Squares(tmp_path), [])) == []


def test_the_item_of_a_killed_worker_is_computed_again(tmp_path: Path) -> None:
    events = list(Engine(workers=2, device="cpu").run(Squares(tmp_path, deaths=TRIES - 1), [6, 7, 8]))
    assert sorted(value for kind, value in events if kind == "result") == [36, 49, 64]


def test_an_item_that_kills_every_worker_is_lost_and_the_others_are_not(tmp_path: Path) -> None:
    events = list(Engine(workers=2, device="cpu").run(Squares(tmp_path, deaths=99), [6, 7, 8]))
    assert [value for kind, value in events if kind == "lost"] == [7]
    assert sorted(value for kind, value in events if kind == "result") == [36, 64]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_that_die_before_they_have_models_end_the_work_at_once(
    workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, start = [], local._start
    monkeypatch.setattr(local, "_start", lambda work: started.append(work) or start(work))
    with pytest.raises(V2LError, match=f"{TRIES} workers died while they loaded their models"):
        list(Engine(workers=workers, device="cpu").run(Deadly(with_item=False), range(9)))
    assert len(started) == workers + TRIES - 1


@pytest.mark.parametrize("visible", [None, "GPU-a,GPU-b"])
def test_each_worker_sees_one_of_several_gpus(visible: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if visible:
        monkeypatch.setenv(local.VISIBLE, visible)
    else:
        monkeypatch.delenv(local.VISIBLE, raising=False)
    seen = [value for kind, value in run_local(Visible(), range(2), 2, gpus=2) if kind == "result"]
    assert sorted(seen) == (visible or "0,1").split(",")
    assert os.environ.get(local.VISIBLE) == visible
    assert [value for kind, value in run_local(Visible(), range(1), 1, gpus=1) if kind == "result"] == [
        visible
    ]


def test_workers_on_gpus_share_the_cores_for_their_reading_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(local.WORKERS, raising=False)
    events = run_local(Visible(local.WORKERS), range(4), 3, gpus=3)
    assert [value for kind, value in events if kind == "result"] == ["3"] * 4
    assert local.WORKERS not in os.environ
    monkeypatch.setattr(batch, "cores", lambda: 24)
    assert batch.readers(torch.device("cuda")) == 24
    monkeypatch.setenv(local.WORKERS, "3")
    assert batch.readers(torch.device("cuda")) == 8


@pytest.fixture
def two_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process and new ones compute with two threads."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("workers", [0, 1])
def test_work_has_one_thread_and_what_called_it_keeps_its_own(workers: int) -> None:
    found = []
    for kind, value in run_local(Threads(), range(2), workers):
        found += [value] if kind == "result" else []
        assert torch.get_num_threads() == 2
    assert found == [(1, 1)] * 2


@pytest.mark.usefixtures("two_threads")
def test_work_of_a_ray_actor_has_one_thread() -> None:
    (answer,) = WorkActor(Threads())({"item": [pickle.dumps(1)]})["answer"]
    assert ("result", (1, 1)) in pickle.loads(answer)
    assert torch.get_num_threads() == 2


def test_a_numbered_gpu_is_the_only_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [gpus_of(torch.device(name)) for name in ("cuda", "cuda:2", "cpu")] == [4, 1, 0]
    monkeypatch.setattr(engine, "choose_device", torch.device)
    monkeypatch.setattr(engine, "run_local", lambda work, items, workers, gpus: iter([(workers, gpus)]))
    assert list(Engine(device="cuda").run(Visible(), [1])) == [(4, 4)]


@pytest.mark.parametrize("workers", [0, 2])
def test_what_the_user_can_repair_ends_the_work(workers: int, tmp_path: Path) -> None:
    with pytest.raises(V2LError, match="got 13; allowed: other numbers"):
        list(Engine(workers=workers, device="cpu").run(Squares(tmp_path), [1, 13, 2]))


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(V2LError, match="got --engine spark; allowed: local, ray; try: --engine local"):
        Engine("spark")
