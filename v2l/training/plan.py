"""settings ──► what a run will take: images a second, memory, hours; measured by a few real steps, and nothing is written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from v2l.config import Config
from v2l.errors import V2LError
from v2l.images import load_images
from v2l.training.data import TrainingImages
from v2l.training.run import RunSettings, Start, crop_settings
from v2l.training.schedule import Schedule
from v2l.training.trainer import Trainer

STATUS = Path("/proc/self/status")  # Linux; getrusage would count what the launching program held, too
TIMED_STEPS = 3  # a phase, behind one that is not timed


@dataclass(frozen=True)
class Phase:
    """Steps of a run that cost the same.

    Attributes:
        name: what is on in it.
        steps: how many there are.
        seconds: one of them, reading the images included.
        reading: how much of that is spent reading them.
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
        peak_bytes: memory of one process at its highest: the device's, else the whole program's; None where the system does not tell.
    """

    images_per_step: int
    phases: tuple[Phase, ...]
    peak_bytes: int | None

    @property
    def hours(self) -> float:
        """Of all steps; encoding the images for their global words comes before."""
        return sum(phase.steps * phase.seconds for phase in self.phases) / 3600

    @property
    def images_per_second(self) -> float:
        """On average over the run."""
        return self.images_per_step * sum(phase.steps for phase in self.phases) / (self.hours * 3600)

    @property
    def reading_share(self) -> float:
        """Of the time, in [0, 1]: near 1, more workers help."""
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


def plan_training(config: Config, settings: RunSettings) -> Plan:
    """Measure a few steps of each phase of a run, with its own images, and throw the weights away.

    Raises:
        V2LError: as `train` does; or not one of the first images is readable.
    """
    start = Start.of(config, settings)
    trainer = start.trainer(_first_images(config, settings), settings)
    phases = tuple(_measure(trainer, name, first, last) for name, first, last in _phases(trainer.schedule))
    return Plan(
        config.training.batch_size * config.training.accumulate * start.processes.num_processes,
        phases,
        peak_memory(),
    )


def peak_memory() -> int | None:
    """Bytes that this process has held at most: on a CUDA device, else in main memory; None where the system does not tell."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    if STATUS.is_file():
        return next(
            int(line.split()[1]) * 1024
            for line in STATUS.read_text().splitlines()
            if line.startswith("VmHWM")
        )
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes


def _first_images(config: Config, settings: RunSettings) -> TrainingImages:
    """As many images as the plan will look at, with the first global words for all of them: which words they are costs nothing."""
    wanted = config.training.batch_size * config.training.accumulate * (TIMED_STEPS + 1)
    readable = [file for file, _ in load_images(settings.images[:wanted])]
    if not readable:
        raise V2LError(
            f"none of the first {min(wanted, len(settings.images))} files is a readable image",
            "photographs",
            "another folder",
        )
    words = torch.arange(config.model.global_tokens).expand(len(readable), -1)
    return TrainingImages(readable, words, crop_settings(config, settings.seed))


def _phases(schedule: Schedule) -> Iterator[tuple[str, int, int]]:
    """Name, first step, and the step behind the last one."""
    config = schedule.config
    judged = [config.discriminator_start, config.adversarial_start] if config.adversarial_weight else []
    marks = sorted(
        {0, config.steps, *(round(share * config.steps) for share in (config.quantizer_start, *judged))}
    )
    for first, last in pairwise(marks):
        parts = (
            (schedule.quantizes(first), "quantizer"),
            (schedule.discriminates(first), "discriminator"),
            (schedule.deceives(first), "adversarial term"),
        )
        yield ", ".join(name for on, name in parts if on) or "no quantizer", first, last


def _measure(trainer: Trainer, name: str, first: int, last: int) -> Phase:
    """Time steps at the end of a phase: nothing is fitted there."""
    step, reading, working = last - 1, 0.0, 0.0
    shares = trainer.batches(0, TIMED_STEPS + 1)
    for count in range(TIMED_STEPS + 1):
        begun = time.perf_counter()
        batch = next(shares)
        read = time.perf_counter()
        trainer.make_step(step, batch)
        done = time.perf_counter()
        if count:  # the first one warms up
            reading, working = reading + read - begun, working + done - read
    return Phase(name, last - first, (reading + working) / TIMED_STEPS, reading / TIMED_STEPS)
