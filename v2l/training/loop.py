"""a recipe ──► a finished training run: the one loop of all tokenizers and adapters.

The loop accumulates gradients over parts, skips updates that are not finite, averages weights, saves states,
resumes exactly, and writes logs and pictures. One process or many run the same code (accelerate).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Generic

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.training.interrupt import StopRequest
from v2l.training.log import RunLog
from v2l.training.recipe import Objective, PartT, Recipe, Terms
from v2l.training.state import TrainingState, load_state, save_state
from v2l.training.weight_average import WeightAverage

SEED_STRIDE = 1_000_003  # a prime: seeds of different runs do not meet within a million steps
OnStep = Callable[[int, Terms], None]
"""Called with the number of steps done and the terms of the last one."""


@dataclass(frozen=True)
class LoopSettings:
    """How long a run is, and what it writes on its way.

    Attributes:
        run: folder for states, log, pictures and result.
        steps: optimizer steps in all.
        save_every: steps between two saved states.
        keep_states: how many of the last states are kept.
        log_every: steps between two lines of the log.
        picture_every: steps between two pictures; 0 is off.
        validate_every: steps between two validations; 0 is off.
        ema_decay: decay of the moving average of the weights; 0 is off.
    """

    run: Path
    steps: int
    save_every: int = 1000
    keep_states: int = 2
    log_every: int = 50
    picture_every: int = 0
    validate_every: int = 0
    ema_decay: float = 0.0

    def __post_init__(self) -> None:
        if min(self.steps, self.save_every, self.keep_states, self.log_every) < 1:
            raise V2LError(
                f"got {self.steps} steps, saved every {self.save_every}, logged every {self.log_every}, "
                f"{self.keep_states} states kept",
                "1 and more of each",
            )


class TrainingLoop(Generic[PartT]):
    """A training run.

    Args:
        recipe: what is trained.
        settings: how long, and what is written.
    """

    def __init__(self, recipe: Recipe[PartT], settings: LoopSettings) -> None:
        self.recipe, self.settings, self.processes = recipe, settings, recipe.processes
        shipped = next(iter(recipe.networks.values())).network
        average = WeightAverage(shipped, settings.ema_decay) if settings.ema_decay else None
        self.state = TrainingState(recipe.networks, average)

    def resume(self) -> int:
        """Go back to the last state of the run, if there is one; returns the step to start with.

        Raises:
            V2LError: the state is damaged, or belongs to other settings, models or data.
        """
        return load_state(self.settings.run, self.recipe, self.state)

    def train(self, first: int, on_step: OnStep) -> int:
        """Train from one step to the last, or until a stop is requested; states are saved on the way.

        Args:
            first: the step to start with, as `resume` gave it.
            on_step: called after every step.

        Returns:
            The number of steps done.

        Raises:
            V2LError: several updates in a row were not finite, or a state cannot be written.
        """
        done = first
        with StopRequest() as stop, self._open_log(first) as log:
            batches = self.recipe.batches(first, self.settings.steps)
            for done, parts in enumerate(batches, start=first + 1):
                terms = self.step(done - 1, parts)
                if log:
                    self._log(log, done, terms)
                on_step(done, terms)
                stopping = self._in_any_process(stop.requested)
                if self._due(done, self.settings.save_every) or stopping:
                    self.save(done)
                if stopping:
                    break
        return done

    def step(self, step: int, parts: Sequence[PartT]) -> Terms:
        """Make one step: fit what must be fitted, update all networks, follow them with the average."""
        fit_here = step in self.recipe.fit_steps
        if fit_here:
            self.recipe.fit(step)
        if fit_here and self.state.average:
            self.state.average.restart()
        terms = update_networks(self.recipe, step, parts)
        if self.state.average:
            started = max((fitted for fitted in self.recipe.fit_steps if fitted <= step), default=0)
            self.state.average.update(step - started)
        return terms

    def save(self, step: int) -> None:
        """Write the state after `step` steps, and the result with its averaged weights."""
        self.processes.wait_for_everyone()
        if self.processes.is_main_process:
            settings = self.settings
            save_state(settings.run, step, self.recipe, self.state, settings.keep_states)
            with self.averaged_weights():
                self.recipe.save_result(settings.run / self.recipe.result, step)
        self.processes.wait_for_everyone()

    def averaged_weights(self) -> AbstractContextManager[None]:
        """A block in which the first network holds the weights that ship."""
        return self.state.average.in_network() if self.state.average else nullcontext()

    def _open_log(self, first: int) -> AbstractContextManager[RunLog | None]:
        """The log of the run; of several processes the main one alone writes it."""
        return RunLog(self.settings.run, first) if self.processes.is_main_process else nullcontext()

    def _log(self, log: RunLog, done: int, terms: Terms) -> None:
        settings = self.settings
        if self._due(done, settings.log_every) or terms["skipped"]:
            log.write(done, terms)
        if settings.validate_every and self._due(done, settings.validate_every):
            with self.averaged_weights():
                figures = self.recipe.validate(done)
            log.write(done, {f"validation/{name}": value for name, value in figures.items()})
        if settings.picture_every and self._due(done, settings.picture_every):
            with self.averaged_weights():
                page = self.recipe.page(done)
            if page is not None:
                log.picture(done, page)

    def _in_any_process(self, here: bool) -> bool:
        """Whether something holds in any process; all of them stop after the same step."""
        count = torch.tensor(float(here), device=self.processes.device)
        return bool(self.processes.reduce(count, "sum") > 0)

    def _due(self, done: int, every: int) -> bool:
        return done % every == 0 or done == self.settings.steps


def update_networks(objective: Objective[PartT], step: int, parts: Sequence[PartT]) -> Terms:
    """One update of every network that is trained in this step.

    Args:
        objective: the networks and their losses.
        step: how many steps were made before.
        parts: this process's batch.

    Returns:
        Terms as means over the parts, `learning_rate`, and the number of `skipped` updates.

    Raises:
        V2LError: several updates in a row were not finite.
    """
    processes, rate = objective.processes, objective.learning_rate(step)
    torch.manual_seed(objective.seed * SEED_STRIDE + step * processes.num_processes + processes.process_index)
    objective.before_step(step, parts)
    terms, skipped = Terms(), 0
    for name in objective.trained(step):
        terms |= accumulate_gradients(objective, step, parts, name)
        updated = objective.networks[name].step(rate)
        terms |= objective.after_update(step, name, updated)
        skipped += not updated
    return {**terms, "learning_rate": rate, "skipped": float(skipped)}


def accumulate_gradients(objective: Objective[PartT], step: int, parts: Sequence[PartT], name: str) -> Terms:
    """Add the gradients of all parts to one network: those of the mean of their losses.

    Returns the loss terms as means over the parts.
    """
    network, terms = objective.networks[name], []
    for number, part in enumerate(parts, start=1):
        with network.accumulating(last=number == len(parts)):
            loss = objective.loss(step, part, name)
            network.backward(loss.value / len(parts))
        terms.append(loss.terms)
    return _means(terms)


def _means(terms: Sequence[Mapping[str, Tensor]]) -> Terms:
    """The mean of each term over the parts, with one transfer from the device for each part."""
    values = [torch.stack([term.detach().float() for term in part.values()]).tolist() for part in terms]
    columns = zip(*values, strict=True)  # (parts, terms) → (terms, parts)
    return {name: fmean(column) for name, column in zip(terms[0], columns, strict=True)}
