"""An engine computes every item once, whoever computes it, and says which it could not."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_work import Squares

from v2l.engines.engine import Engine
from v2l.engines.local import TRIES
from v2l.errors import V2LError


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


@pytest.mark.parametrize("workers", [0, 2])
def test_what_the_user_can_repair_ends_the_work(workers: int, tmp_path: Path) -> None:
    with pytest.raises(V2LError, match="got 13; allowed: other numbers"):
        list(Engine(workers=workers, device="cpu").run(Squares(tmp_path), [1, 13, 2]))


def test_an_unknown_engine_is_refused_with_the_known_ones() -> None:
    with pytest.raises(V2LError, match="got --engine spark; allowed: local, ray; try: --engine local"):
        Engine("spark")
