"""a recipe ──► what its run will take: examples a second, memory, hours; a few real steps are measured."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from v2l.training.loop import update_networks
from v2l.training.recipe import Phase, Recipe

STATUS = Path("/proc/self/status")  # Linux; getrusage would count the memory of the launching program, too
TIMED_STEPS = 3  # in each phase, after one that is not timed


@dataclass(frozen=True)
class PhaseCost:
    """Steps of a run that cost the same.

    Attributes:
        name: what is trained in it.
        steps: how many there are.
        seconds: of one step, reading included.
        reading: how much of that is spent on reading the data.
    """

    name: str
    steps: int
    seconds: float
    reading: float


@dataclass(frozen=True)
class Plan:
    """What a run will take.

    Attributes:
        images_per_step: of all processes.
        phases: in their order.
        peak_bytes: the most memory of one process: the device's, else the whole program's; None if the system
            does not report it.
    """

    images_per_step: int
    phases: tuple[PhaseCost, ...]
    peak_bytes: int | None

    @property
    def hours(self) -> float:
        """Of all steps; preparation (encoding images for their global words, for example) comes before."""
        return sum(phase.steps * phase.seconds for phase in self.phases) / 3600

    @property
    def images_per_second(self) -> float:
        """On average over the run."""
        return self.images_per_step * sum(phase.steps for phase in self.phases) / (self.hours * 3600)

    @property
    def reading_share(self) -> float:
        """Share of the time that is spent on reading, in [0, 1]: near 1, more workers help."""
        return sum(phase.steps * phase.reading for phase in self.phases) / (self.hours * 3600)

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        return {
            "hours": self.hours,
            "images_per_second": self.images_per_second,
            "reading_share": self.reading_share,
            "peak_bytes": self.peak_bytes,
            "phases": [vars(phase) for phase in self.phases],
        }


def plan_run(recipe: Recipe[Any], steps: int) -> Plan:
    """Measure a few steps of each phase of a run.

    The steps change the recipe's weights, so do not use the recipe afterwards.

    Raises:
        V2LError: an example cannot be read.
    """
    phases = tuple(_measure(recipe, phase) for phase in recipe.phases(steps))
    return Plan(recipe.examples_per_step, phases, peak_memory())


def peak_memory() -> int | None:
    """The peak memory of this process in bytes, or None if the system does not report it.

    It is the memory of the CUDA device if there is one, else main memory.
    """
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    if STATUS.is_file():
        lines = STATUS.read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes


def _measure(recipe: Recipe[Any], phase: Phase) -> PhaseCost:
    """Time the last step of a phase again and again, with other data each time; nothing is fitted there."""
    reading, working = 0.0, 0.0
    batches = recipe.batches(0, TIMED_STEPS + 1)
    for count in range(TIMED_STEPS + 1):
        start = time.perf_counter()
        parts = next(batches)
        read = time.perf_counter()
        update_networks(recipe, phase.end - 1, parts)
        done = time.perf_counter()
        if count:  # the first one warms up
            reading, working = reading + read - start, working + done - read
    steps = phase.end - phase.first
    return PhaseCost(phase.name, steps, (reading + working) / TIMED_STEPS, reading / TIMED_STEPS)
