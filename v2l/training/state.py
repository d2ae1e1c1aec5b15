"""a training run after one step ⇄ a directory, from which the run goes on exactly.

It holds the weights of all networks, the moments of all optimizers and the moving average, as safetensors.
Random numbers need no saving, because they are a function of seed and step.
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
from v2l.training.optimizer_step import OptimizerStep
from v2l.training.recipe import Recipe
from v2l.training.weight_average import WeightAverage

KIND, SCHEMA = "training", 2
PREFIX = "step-"
FIRST_RECIPE = "grid"  # states that name no recipe were saved when there was only this one


@dataclass(frozen=True)
class TrainingState:
    """All that a run changes.

    Attributes:
        networks: by name, each with its optimizer.
        average: the moving average of the first network's weights, or None.
    """

    networks: Mapping[str, OptimizerStep]
    average: WeightAverage | None = None

    def save(self, folder: Path, description: Mapping[str, Any]) -> None:
        """Write the state as one directory; `description` goes into its manifest.

        Raises:
            V2LError: the place cannot be written; an older state there stays as it was.
        """
        with write_directory(folder) as draft:
            for name, network in self.networks.items():
                save_tensors(draft / f"{name}.safetensors", network.tensors())
                save_tensors(draft / f"{name}-optimizer.safetensors", optimizer_tensors(network.optimizer))
            if self.average:
                save_tensors(draft / "average.safetensors", self.average.tensors)
            write_manifest(draft, {"kind": KIND, "schema": SCHEMA, **description})

    def load(self, folder: Path) -> None:
        """Put back what `save` wrote.

        Raises:
            V2LError: a file is missing or damaged.
        """
        for name, network in self.networks.items():
            network.load(load_tensors(folder / f"{name}.safetensors"))
            load_optimizer_tensors(network.optimizer, load_tensors(folder / f"{name}-optimizer.safetensors"))
        if self.average:
            self.average.load(load_tensors(folder / "average.safetensors"))


def save_state(run: Path, step: int, recipe: Recipe[Any], state: TrainingState, keep: int) -> None:
    """Write the state after `step` steps to the folder of a run, then remove all states but the last `keep`.

    Raises:
        V2LError: the place cannot be written; older states stay as they were.
    """
    description = {"step": step, "recipe": recipe.name, "facts": recipe.metadata()}
    state.save(run / f"{PREFIX}{step:09d}", description)
    for old in saved_states(run)[:-keep]:
        shutil.rmtree(old)


def load_state(run: Path, recipe: Recipe[Any], state: TrainingState) -> int:
    """Load the last state of a run; returns its number of steps, 0 if there is no state.

    Raises:
        V2LError: the state is damaged, belongs to another recipe, or its metadata differ; the error lists
            both values of each.
    """
    states = saved_states(run)
    if not states:
        return 0
    manifest = read_manifest(states[-1], KIND, SCHEMA)
    saved_by = manifest.get("recipe", FIRST_RECIPE)
    if saved_by != recipe.name:
        raise V2LError(
            f"{states[-1]} is a state of the recipe {saved_by!r}",
            f"a state of the recipe {recipe.name!r}",
            "-o ANOTHER_FOLDER",
        )
    check_metadata(states[-1], recipe.metadata_defaults() | manifest["facts"], recipe.metadata())
    state.load(states[-1])
    return int(manifest["step"])


def check_metadata(folder: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a run whose settings, data or models have changed.

    Raises:
        V2LError: an entry differs; the error lists both values of each.
    """
    changed = [name for name in {**saved, **now} if saved.get(name) != now.get(name)]
    if changed:
        values = ", ".join(f"{name} = {saved.get(name)}, now {now.get(name)}" for name in changed)
        raise V2LError(
            f"{folder} cannot go on: it was made with {values}",
            "the same settings, models and images as before",
            "-o ANOTHER_FOLDER",
        )


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
    """Put back what `optimizer_tensors` gave; learning rates and settings stay the optimizer's own."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = _laid_out_as(parameters[int(index)], tensor)
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _laid_out_as(parameter: Tensor, moment: Tensor) -> Tensor:
    """A moment in the memory order of its weight, because the fused optimizer goes through both at once."""
    if moment.shape != parameter.shape:  # the step count
        return moment
    return torch.empty_like(parameter, dtype=moment.dtype).copy_(moment)
