"""name of an engine and number of workers ──► the engine that runs work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from v2l.device import choose_device
from v2l.engines.local import run_local
from v2l.engines.ray import import_ray, run_ray
from v2l.engines.work import Event, Work
from v2l.errors import V2LError

ENGINES = ("local", "ray")


@dataclass(frozen=True)
class Engine:
    """Where work runs.

    Attributes:
        name: of `ENGINES`: processes of this machine, or actors of a Ray cluster.
        workers: processes or actors; None: one for each core, or for each GPU. 0 of `local` is this process.
        device: of each worker, as in `choose_device`.

    Raises:
        V2LError: there is no such engine, or Ray is not installed.
    """

    name: str = "local"
    workers: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.name not in ENGINES:
            raise V2LError(f"got --engine {self.name}", ", ".join(ENGINES), f"--engine {ENGINES[0]}")
        if self.name == "ray":
            import_ray()

    def run(self, work: Work[Any, Any], items: Sequence[Any]) -> Iterator[Event]:
        """Compute all items; results come in the order in which they are finished.

        Raises:
            V2LError: as `work` does, or Ray breaks down.
        """
        if not items:
            return iter(())
        gpus = gpus_of(choose_device(self.device))
        workers = self.workers if self.workers is not None else max(1, gpus or cores())
        if self.name == "ray":
            return run_ray(work, items, max(1, workers), gpus=1.0 if gpus else 0.0)
        return run_local(work, items, workers, gpus)


def gpus_of(device: torch.device) -> int:
    """The GPUs that workers may use: one if the device has a number, none if it is no GPU."""
    if device.type != "cuda":
        return 0
    return torch.cuda.device_count() if device.index is None else 1


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def lost_workers(item: str) -> V2LError:
    """The error for an item that workers died over, again and again."""
    return V2LError(
        f"workers died again and again over {item}",
        "enough memory for each worker; what is finished is kept",
        "the same command with fewer --workers",
    )
