"""long work ──► finished parts on disk, so that a build that was stopped goes on behind the last of them.

A part's name is a hash of all that its content depends on: a changed setting finds no old part, and an equal one always does. Of
several processes each makes its share of the parts. A part that was damaged on the disk is made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from v2l.checkpoint import load_tensors, save_tensors
from v2l.errors import V2LError
from v2l.processes import ALONE, World

Progress = Callable[[str, int, int], None]
"""Called with the step's name, how many items are done, and how many there are."""
Compute = Callable[[list], Tensor]
"""A part of the items ──► one tensor with a row an item."""


def silent(step: str, done: int, total: int) -> None:
    """No progress shown."""


@dataclass(frozen=True)
class Shards:
    """Parts of one step of a build.

    Attributes:
        folder: where the parts are kept; all processes see it.
        step: the step's name, for people.
        progress: told after every part.
        size: items a part.
        world: the processes that make the parts.
    """

    folder: Path
    step: str
    progress: Progress = silent
    size: int = 4096
    world: World = ALONE

    def run(self, items: list, facts: Iterable[str], compute: Compute) -> list[Tensor]:
        """As `each`, all parts at once."""
        return list(self.each(items, facts, compute))

    def each(self, items: list, facts: Iterable[str], compute: Compute) -> Iterator[Tensor]:
        """Compute a tensor for each part of `items`, unless an earlier build finished it; then give the parts in order, memory-mapped.

        Args:
            items: the whole work, in order; `str` of an item says all that matters of it.
            facts: what else the result depends on (fingerprints, templates).
            compute: a part of the items ──► one tensor with a row an item.
        """
        parts = [items[start : start + self.size] for start in range(0, len(items), self.size)]
        paths = self._paths(parts, facts)
        for number in range(self.world.index, len(parts), self.world.count):
            if not is_whole(paths[number]):
                rows = compute(parts[number])
                save_tensors(paths[number], {"rows": rows, "sha256": checksum(rows)})
            self.progress(self.step, min(len(items), (number + 1) * self.size), len(items))
        self.world.wait()
        for path in paths:
            yield load_tensors(path)["rows"]

    def _paths(self, parts: list[list], facts: Iterable[str]) -> list[Path]:
        """Where each part is kept: a name that says all that its content depends on."""
        head = hashlib.sha256("\n".join([self.step, *facts]).encode())
        paths = []
        for part in parts:
            digest = head.copy()
            digest.update("\n".join(map(str, part)).encode())
            paths.append(self.folder / f"{self.step.replace(' ', '-')}-{digest.hexdigest()[:24]}.safetensors")
        return paths


def is_whole(path: Path) -> bool:
    """Whether a part is on the disk as it was written."""
    try:
        tensors = load_tensors(path) if path.exists() else {}
    except V2LError:  # truncated
        return False
    return tensors.keys() == {"rows", "sha256"} and torch.equal(checksum(tensors["rows"]), tensors["sha256"])


def checksum(rows: Tensor) -> Tensor:
    """(32,) uint8: the sha256 of a tensor's bytes."""
    data = rows.detach().cpu().contiguous().view(torch.uint8).numpy()
    return torch.tensor(list(hashlib.sha256(data).digest()), dtype=torch.uint8)
