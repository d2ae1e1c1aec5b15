"""Work that was stopped goes on behind its last finished part, and no part is used for other work."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier

import pytest
import torch
from torch import Tensor

from v2l.checkpoint import save_tensors
from v2l.processes import World
from v2l.shards import Shards

ITEMS = [f"word {number}" for number in range(10)]


class Squares:
    """Computes a row an item, and remembers for which."""

    def __init__(self, stop_at: str = "") -> None:
        self.parts: list[list[str]] = []
        self.stop_at = stop_at

    def __call__(self, part: list[str]) -> Tensor:
        if self.stop_at in part:
            raise KeyboardInterrupt
        self.parts.append(part)
        return torch.tensor([[int(item.split()[1]) ** 2] for item in part])


def squares(items: list[str]) -> list[list[int]]:
    return [[int(item.split()[1]) ** 2] for item in items]


@pytest.mark.parametrize(("size", "lengths"), [(3, [3, 3, 3, 1]), (5, [5, 5]), (100, [10])])
def test_parts_follow_the_order_of_the_items(size: int, lengths: list[int], tmp_path: Path) -> None:
    parts = Shards(tmp_path, "squares", size=size).run(ITEMS, ["fact"], Squares())
    assert [len(part) for part in parts] == lengths
    assert torch.cat(parts).tolist() == squares(ITEMS)


def test_finished_parts_are_read_and_not_computed_again(tmp_path: Path) -> None:
    shards, again = Shards(tmp_path, "squares", size=3), Squares()
    shards.run(ITEMS, ["fact"], Squares())
    assert torch.cat(shards.run(ITEMS, ["fact"], again)).tolist() == squares(ITEMS)
    assert again.parts == []


def test_stopped_work_goes_on_behind_its_last_part(tmp_path: Path) -> None:
    shards, after = Shards(tmp_path, "squares", size=3), Squares()
    with pytest.raises(KeyboardInterrupt):
        shards.run(ITEMS, ["fact"], Squares(stop_at="word 7"))
    assert len(list(tmp_path.iterdir())) == 2
    assert torch.cat(shards.run(ITEMS, ["fact"], after)).tolist() == squares(ITEMS)
    assert after.parts == [ITEMS[6:9], ITEMS[9:]]


@pytest.mark.parametrize(
    ("step", "facts", "items"),
    [
        ("cubes", ["fact"], ITEMS),
        ("squares", ["other"], ITEMS),
        ("squares", ["fact", "more"], ITEMS),
        ("squares", ["fact"], ITEMS[::-1]),
    ],
)
def test_another_step_fact_or_item_finds_no_old_part(
    step: str, facts: list[str], items: list[str], tmp_path: Path
) -> None:
    Shards(tmp_path, "squares").run(ITEMS, ["fact"], Squares())
    other = Squares()
    assert torch.cat(Shards(tmp_path, step).run(items, facts, other)).tolist() == squares(items)
    assert other.parts == [items]


def test_a_changed_item_spares_the_other_parts(tmp_path: Path) -> None:
    shards, again = Shards(tmp_path, "squares", size=3), Squares()
    shards.run(ITEMS, ["fact"], Squares())
    changed = [*ITEMS[:4], "word 40", *ITEMS[5:]]
    assert torch.cat(shards.run(changed, ["fact"], again)).tolist() == squares(changed)
    assert again.parts == [changed[3:6]]


def test_progress_is_reported_after_every_part_old_or_new(tmp_path: Path) -> None:
    reported: list[tuple[str, int, int]] = []
    shards = Shards(tmp_path, "all squares", lambda *event: reported.append(event), size=4)
    for _ in range(2):
        shards.run(ITEMS, [], Squares())
    assert reported == [("all squares", done, 10) for done in (4, 8, 10)] * 2


def test_a_name_that_is_no_utf8_has_a_part_too(tmp_path: Path) -> None:
    names = [os.fsdecode(b"caf\xe9.png"), "café.png"]
    parts = Shards(tmp_path, "squares", size=1).run(names, [], lambda part: torch.ones(len(part), 1))
    assert torch.cat(parts).tolist() == [[1.0], [1.0]]
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_no_items_give_no_parts(tmp_path: Path) -> None:
    assert Shards(tmp_path, "squares").run([], [], Squares()) == []


@dataclass(frozen=True)
class Meeting(World):
    """A process of a world whose processes are threads."""

    place: Barrier = field(default_factory=lambda: Barrier(2))

    def wait(self) -> None:
        self.place.wait(timeout=60)


def test_parts_are_shared_out_and_every_process_gets_all(tmp_path: Path) -> None:
    place, work = Barrier(2), [Squares(), Squares()]

    def process(index: int) -> list[Tensor]:
        return Shards(tmp_path, "squares", size=3, world=Meeting(index, 2, place=place)).run(
            ITEMS, ["fact"], work[index]
        )

    with ThreadPoolExecutor(2) as threads:
        assert [torch.cat(rows).tolist() for rows in threads.map(process, range(2))] == [squares(ITEMS)] * 2
    assert [squares_of.parts for squares_of in work] == [[ITEMS[0:3], ITEMS[6:9]], [ITEMS[3:6], ITEMS[9:]]]


def cut_short(content: bytes) -> bytes:
    return content[:-8]


def one_bit_turned(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


def emptied(content: bytes) -> bytes:
    return b""


@pytest.mark.parametrize("damage", [cut_short, one_bit_turned, emptied])
def test_a_damaged_part_is_made_again(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    shards, again, after = Shards(tmp_path, "squares", size=4), Squares(), Squares()
    shards.run(ITEMS, [], Squares())
    part = sorted(tmp_path.iterdir())[1]
    whole = part.read_bytes()
    part.write_bytes(damage(whole))
    assert torch.cat(shards.run(ITEMS, [], again)).tolist() == squares(ITEMS)
    assert len(again.parts) == 1
    assert part.read_bytes() == whole
    shards.run(ITEMS, [], after)
    assert after.parts == []


def test_a_part_of_an_unknown_kind_is_made_again(tmp_path: Path) -> None:
    shards, again = Shards(tmp_path, "squares"), Squares()
    shards.run(ITEMS, [], Squares())
    (part,) = tmp_path.iterdir()
    save_tensors(part, {"rows": torch.zeros(10, 1)})
    assert torch.cat(shards.run(ITEMS, [], again)).tolist() == squares(ITEMS)
    assert again.parts == [ITEMS]
