"""the contract of training: a recipe gives networks, batches and losses; the loop gives everything else.

A new tokenizer or adapter is trained by writing one recipe. The loop (`v2l.training.loop`) accumulates
gradients, skips steps that are not finite, averages weights, saves states, resumes exactly, and writes logs
and pictures. It never asks which recipe it runs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from torch import Tensor

from v2l.processes import Accelerator
from v2l.training.optimizer_step import OptimizerStep

PartT = TypeVar("PartT")
"""What a recipe's batches consist of. A batch is seen in one part, or in several that are accumulated."""
Terms = dict[str, float]
"""Figures of one step, by name: loss terms, learning rate, skipped updates."""


class Loss(NamedTuple):
    """What one part of a batch gives."""

    value: Tensor  # () is differentiated: its gradient trains the network
    terms: Mapping[str, Tensor]  # () each, without gradient: for the log


class Phase(NamedTuple):
    """Steps of a run that cost the same."""

    name: str
    first: int
    end: int  # the step behind the last one


class Objective(ABC, Generic[PartT]):
    """Networks and their losses: what one update needs.

    Attributes:
        processes: the processes that train together.
        networks: by name, each with its optimizer. The first is the one that ships; the moving average
            follows it.
        seed: what is drawn at random in a step depends on this seed and on the step alone.
    """

    processes: Accelerator
    networks: Mapping[str, OptimizerStep]
    seed: int

    @abstractmethod
    def loss(self, step: int, part: PartT, network: str) -> Loss:
        """The loss of one part for one network; the loop calls it once for each part and network, in order.

        Call the network as `self.networks[network].prepared`, because this exchanges gradients between
        processes.
        """

    @abstractmethod
    def learning_rate(self, step: int) -> float:
        """The learning rate of all networks in one step."""

    def trained(self, step: int) -> Sequence[str]:
        """The networks that are updated in this step, in this order."""
        return list(self.networks)

    def before_step(self, step: int, parts: Sequence[PartT]) -> None:
        """Prepare what the losses of one step share. The random seed of the step is set already."""

    def after_update(self, step: int, network: str, updated: bool) -> Terms:
        """Finish the update of one network; returns figures of the whole batch for the log.

        Args:
            step: the step that is being made.
            network: the network whose optimizer has just been called.
            updated: False if the update was skipped because a gradient was not finite.
        """
        return {}


class Recipe(Objective[PartT]):
    """An objective with its data and its result: what a whole run needs.

    Attributes:
        name: of the tokenizer or adapter that is trained; a saved state of another name is refused.
        result: name of the folder, in the folder of the run, that `save_result` fills.
        examples_per_step: images or examples that all processes together see in a step.
        fit_steps: the steps before which `fit` is called. The moving average starts again there.
    """

    name: ClassVar[str]
    result: ClassVar[str]
    examples_per_step: int
    fit_steps: Collection[int] = ()

    @abstractmethod
    def batches(self, first: int, last: int) -> Iterator[Sequence[PartT]]:
        """This process's batch, in its parts, for each step from `first` to before `last`.

        A batch must be a function of the seed, the step and the process alone. Resuming is exact because of
        that.
        """

    @abstractmethod
    def metadata(self) -> dict[str, Any]:
        """What must be equal when a run goes on, by name, as JSON holds it: settings, data, models."""

    @abstractmethod
    def save_result(self, folder: Path, step: int) -> None:
        """Write the result of `step` steps.

        If weights are averaged, the first network holds the averaged weights during this call.

        Raises:
            V2LError: the place cannot be written; an older result there stays as it was.
        """

    def metadata_defaults(self) -> dict[str, Any]:
        """Metadata of states that were saved before these entries existed."""
        return {}

    def fit(self, step: int) -> None:
        """Set weights in closed form before one of `fit_steps`: a codebook, for example."""

    def page(self, step: int) -> Tensor | None:
        """A picture of what the networks do after `step` steps: (3, H, W) in [0, 1], or None.

        The networks hold the averaged weights during this call.
        """
        return None

    def validate(self, step: int) -> Terms:
        """Figures on images that are not trained on, after `step` steps. Averaged weights are in place."""
        return {}

    def phases(self, steps: int) -> list[Phase]:
        """The phases of a run of `steps` steps, in order; by default all steps cost the same."""
        return [Phase("all steps", 0, steps)]
