"""items of a long computation ──► tensors in files (shards), so that a stopped run can continue.

The name of a shard is a hash of everything that determines its content. With a changed setting, old shards
are therefore not used; with equal settings, they always are. Several processes divide the shards among
themselves. A shard that is damaged on the disk is computed again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from v2l.checkpoint import load_tensors, save_tensors
from v2l.errors import V2LError
from v2l.processes import ALONE, World
from v2l.progress import Progress, silent

Compute = Callable[[list[Any]], Tensor]
"""The items of one shard ──► a tensor with one row per item."""


@dataclass(frozen=True)
class Shards:
    """The shards of one step of a long computation.

    Attributes:
        folder: the folder of the shards, on a disk that all processes share.
        step: name of the step; a part of every file name.
        progress: called after every shard.
        size: number of items per shard.
        world: the processes that compute the shards.
    """

    folder: Path
    step: str
    progress: Progress = silent
    size: int = 4096
    world: World = ALONE

    def run(self, items: Sequence[Any], metadata: Iterable[str], compute: Compute) -> list[Tensor]:
        """Return all shards of `each` in one list."""
        return list(self.each(items, metadata, compute))

    def each(self, items: Sequence[Any], metadata: Iterable[str], compute: Compute) -> Iterator[Tensor]:
        """Compute the missing shards, then yield all shards in order, memory-mapped.

        Args:
            items: all items, in order; `str(item)` must contain everything that determines the item's row.
            metadata: what else determines the result, such as fingerprints of models and templates.
            compute: maps the items of one shard to a tensor with one row per item.
        """
        parts, paths = self._parts(items, metadata)
        # Process i of n computes shards i, i + n, i + 2n, …
        for number in range(self.world.index, len(parts), self.world.count):
            if not is_whole(paths[number]):
                store(paths[number], compute(parts[number]))
            self.progress(self.step, min(len(items), (number + 1) * self.size), len(items))
        self.world.wait()
        for path in paths:
            yield load_tensors(path)["rows"]

    def missing(self, items: Sequence[Any], metadata: Iterable[str]) -> list[tuple[Path, list[Any]]]:
        """The path and the items of each shard that `each` would compute; `store` writes one."""
        parts, paths = self._parts(items, metadata)
        return [(path, part) for path, part in zip(paths, parts, strict=True) if not is_whole(path)]

    def _parts(self, items: Sequence[Any], metadata: Iterable[str]) -> tuple[list[list[Any]], list[Path]]:
        """The items of each shard, and its path, named by a hash of the step, the metadata and its items."""
        parts = [list(items[start : start + self.size]) for start in range(0, len(items), self.size)]
        head = hashlib.sha256("\n".join([self.step, *metadata]).encode())
        paths = []
        for part in parts:
            digest = head.copy()
            digest.update("\n".join(map(str, part)).encode(errors="surrogateescape"))
            paths.append(self.folder / f"{self.step.replace(' ', '-')}-{digest.hexdigest()[:24]}.safetensors")
        return parts, paths


def store(path: Path, rows: Tensor) -> None:
    """Write the rows of a shard, with their checksum."""
    save_tensors(path, {"rows": rows, "sha256": checksum(rows)})


def is_whole(path: Path) -> bool:
    """Whether the file of a shard exists and is undamaged."""
    try:
        tensors = load_tensors(path) if path.exists() else {}
    except V2LError:  # truncated
        return False
    return tensors.keys() == {"rows", "sha256"} and torch.equal(checksum(tensors["rows"]), tensors["sha256"])


def checksum(rows: Tensor) -> Tensor:
    """The sha256 of a tensor's bytes, as (32,) uint8."""
    data = rows.detach().cpu().contiguous().view(torch.uint8).numpy()
    return torch.tensor(list(hashlib.sha256(data.data).digest()), dtype=torch.uint8)
