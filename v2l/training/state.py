"""a training run at one step ⇄ a directory, from which it goes on exactly.

Weights of both networks, the moments of both optimizers and the weights' average, as safetensors; what is drawn at random is a function
of seed and step and needs no saving.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from v2l.checkpoint import load_tensors, read_manifest, save_tensors, write_directory, write_manifest
from v2l.errors import V2LError
from v2l.training.optimizer_step import Learner
from v2l.training.weight_average import WeightAverage

KIND, SCHEMA = "training", 2
PREFIX = "step-"


@dataclass(frozen=True)
class TrainingState:
    """What changes while training.

    Attributes:
        learners: networks with their optimizers, by name.
        average: of the first network's weights, when the config asks for one.
    """

    learners: Mapping[str, Learner]
    average: WeightAverage | None = None

    def save(self, run: Path, step: int, facts: Mapping[str, Any], keep: int) -> Path:
        """Write the state after `step` steps, then remove all but the last `keep`.

        Args:
            run: the run's folder.
            step: how many steps are done.
            facts: what must be the same when the run goes on, as JSON holds it.
            keep: how many states stay.

        Raises:
            V2LError: the place cannot be written; older states stay as they were.
        """
        target = run / f"{PREFIX}{step:09d}"
        with write_directory(target) as folder:
            for name, learner in self.learners.items():
                save_tensors(folder / f"{name}.safetensors", learner.network.state_dict())
                save_tensors(folder / f"{name}-optimizer.safetensors", optimizer_tensors(learner.optimizer))
            if self.average:
                save_tensors(folder / "average.safetensors", self.average.tensors)
            write_manifest(folder, {"kind": KIND, "schema": SCHEMA, "step": step, "facts": dict(facts)})
        for old in saved_states(run)[:-keep]:
            shutil.rmtree(old)
        return target

    def load(self, folder: Path, facts: Mapping[str, Any]) -> int:
        """Go back to a saved state; returns its step.

        Raises:
            V2LError: the state is damaged, or belongs to a run with other facts; those that differ are told with both values.
        """
        manifest = read_manifest(folder, KIND, SCHEMA)
        _check_facts(folder, manifest["facts"], facts)
        for name, learner in self.learners.items():
            learner.network.load_state_dict(load_tensors(folder / f"{name}.safetensors"))
            load_optimizer_tensors(learner.optimizer, load_tensors(folder / f"{name}-optimizer.safetensors"))
        if self.average:
            self.average.load(load_tensors(folder / "average.safetensors"))
        return manifest["step"]


def saved_states(run: Path) -> list[Path]:
    """The states of a run, oldest first."""
    return sorted(path for path in run.glob(f"{PREFIX}*") if path.is_dir())


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The moments of an optimizer as flat tensors: `{parameter}.{moment}`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, moments in state.items()
        for name, value in moments.items()
    }


def load_optimizer_tensors(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; rates and settings stay the optimizer's own."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = _laid_out_as(parameters[int(index)], tensor)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out_as(parameter: Tensor, moment: Tensor) -> Tensor:
    """A moment in the memory order of its weight: the fused optimizer goes through both at once."""
    return (
        torch.empty_like(parameter, dtype=moment.dtype).copy_(moment)
        if moment.shape == parameter.shape
        else moment
    )


def _check_facts(folder: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if changed:
        told = ", ".join(f"{name} = {before.get(name)}, now {now.get(name)}" for name in changed)
        raise V2LError(
            f"{folder} cannot go on: it was made with {told}",
            "the same config and images as before",
            "v2l train … -o ANOTHER_FOLDER",
        )
