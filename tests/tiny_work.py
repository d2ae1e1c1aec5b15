"""numbers ──► their squares, by workers that can be killed."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from v2l.engines.work import Report
from v2l.errors import V2LError


@dataclass(frozen=True)
class Squares:
    """Squares of numbers; 13 is refused, and 7 kills its worker until so many marks lie in the folder."""

    folder: Path
    deaths: int = 0

    def load(self) -> int:
        return 2

    def run(self, models: int, item: int, report: Report) -> int:
        if item == 13:
            raise V2LError("got 13", "other numbers")
        if item == 7 and len(list(self.folder.iterdir())) < self.deaths:
            (self.folder / str(time.monotonic_ns())).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        report(1)
        return item**models


@dataclass(frozen=True)
class Visible:
    """What a worker sees in a variable of its environment: its GPUs, unless another one is named."""

    name: str = "CUDA_VISIBLE_DEVICES"

    def load(self) -> None:
        return None

    def run(self, models: None, item: int, report: Report) -> str | None:
        return os.environ.get(self.name)


@dataclass(frozen=True)
class Threads:
    """With how many threads torch loads models and computes an item."""

    def load(self) -> int:
        return torch.get_num_threads()

    def run(self, models: int, item: int, report: Report) -> tuple[int, int]:
        return models, torch.get_num_threads()


@dataclass(frozen=True)
class Deadly:
    """Kills its worker, with every item or before the first one."""

    with_item: bool

    def load(self) -> None:
        if not self.with_item:
            os.kill(os.getpid(), signal.SIGKILL)

    def run(self, models: None, item: object, report: Report) -> None:
        os.kill(os.getpid(), signal.SIGKILL)
