"""long work ──► finished parts on disk, so that a build that was stopped goes on behind the last of them.

A part's name is a hash of all that its content depends on: a changed setting finds no old part, and an equal one always does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from v2l.checkpoint import load_tensors, save_tensors

Progress = Callable[[str, int, int], None]
"""Told the step's name, how many items are done, and how many there are."""


def silent(step: str, done: int, total: int) -> None:
    """No progress shown."""


@dataclass(frozen=True)
class Shards:
    """Parts of one step of a build.

    Attributes:
        folder: where the parts are kept.
        step: the step's name, for people.
        progress: told after every part.
        size: items a part.
    """

    folder: Path
    step: str
    progress: Progress = silent
    size: int = 4096

    def run(self, items: list, facts: Iterable[str], compute: Callable[[list], Tensor]) -> list[Tensor]:
        """Compute a tensor for each part of `items`, or read it when an earlier build finished it.

        Args:
            items: the whole work, in order; `str` of an item says all that matters of it.
            facts: what else the result depends on (fingerprints, templates).
            compute: a part of the items ──► one tensor with a row an item.
        """
        head = hashlib.sha256("\n".join([self.step, *facts]).encode())
        tensors = []
        for start in range(0, len(items), self.size):
            part = items[start : start + self.size]
            digest = head.copy()
            digest.update("\n".join(map(str, part)).encode())
            path = self.folder / f"{self.step.replace(' ', '-')}-{digest.hexdigest()[:24]}.safetensors"
            if not path.exists():
                save_tensors(path, {"rows": compute(part)})
            tensors.append(load_tensors(path)["rows"])
            self.progress(self.step, start + len(part), len(items))
        return tensors
