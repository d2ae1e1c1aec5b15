"""a recipe on frozen patch features ──► a finished run of it, or the plan of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from v2l.processes import Accelerator, start_processes
from v2l.progress import Progress, silent
from v2l.sources import ImageFile
from v2l.tokenizers.member_training import MemberTraining
from v2l.tokenizers.placed_words import tagger_of
from v2l.tokenizers.word_tagger import WordTagger
from v2l.training.loop import LoopSettings, OnStep, TrainingLoop
from v2l.training.recipe import Recipe


@dataclass(frozen=True)
class PatchRun:
    """What one run needs besides its config.

    Attributes:
        images: files to train on.
        run: folder for states, log and result (run/model).
        words: a global codebook; None is the one that ships.
        device: as in `v2l.device.choose_device`.
        seed: of everything that is drawn at random.
    """

    images: Sequence[ImageFile]
    run: Path
    words: Path | None = None
    device: str = "auto"
    seed: int = 0


@dataclass(frozen=True)
class PatchModels:
    """The frozen half of a run.

    Attributes:
        namer: a codebook and its encoder.
        processes: the processes that train together.
    """

    namer: WordTagger
    processes: Accelerator

    @classmethod
    def load(cls, settings: PatchRun) -> PatchModels:
        """The models that a run names.

        Raises:
            V2LError: the codebook is damaged, or the device is not there.
        """
        return cls(tagger_of(settings.words), start_processes(settings.device))


FREE = ("save_every", "log_every", "validate_every")  # may differ when a run goes on


class BuildRecipe(Protocol):
    """Encodes the images of a run, and gives its recipe."""

    def __call__(
        self, config: Any, settings: PatchRun, models: PatchModels, progress: Progress = silent
    ) -> Recipe[Any]:
        """The recipe before its first step."""


def train_recipe(recipe: Recipe[Any], training: MemberTraining, run: Path, on_step: OnStep) -> int:
    """Train, or go on with a run that was stopped; returns how many steps are done.

    Args:
        recipe: before its first step.
        training: how long, and what is written.
        run: folder for states, log and result.
        on_step: called with the number of steps done and the terms of the last.

    Raises:
        V2LError: a run folder of other settings, or a full disk.
    """
    loop = TrainingLoop(recipe, loop_settings(training, run))
    return loop.train(loop.resume(), on_step)


def loop_settings(training: MemberTraining, run: Path) -> LoopSettings:
    """The settings of the loop; a picture is written with each validation."""
    return LoopSettings(
        run,
        training.steps,
        training.save_every,
        log_every=training.log_every,
        picture_every=training.validate_every,
        validate_every=training.validate_every,
        ema_decay=training.ema_decay,
    )


def run_facts(training: MemberTraining, seed: int, processes: Accelerator) -> dict[str, Any]:
    """What must be equal when a run goes on: how it is trained."""
    settings = {key: value for key, value in asdict(training).items() if key not in FREE}
    return {
        **{f"training.{key}": value for key, value in settings.items()},
        "seed": seed,
        "processes": processes.num_processes,
    }
