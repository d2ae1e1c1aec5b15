"""a training run at one step ⇄ a directory, from which it goes on exactly.

Weights of both networks and the moments of both optimizers, as safetensors; what is drawn at random is a function of seed and step
and needs no saving.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from v2l.checkpoint import load_tensors, read_manifest, save_tensors, write_directory, write_manifest
from v2l.errors import V2LError

KIND, SCHEMA = "training", 1
PREFIX = "step-"


@dataclass(frozen=True)
class TrainingState:
    """What changes while training.

    Attributes:
        networks: trained modules by name.
        optimizers: their optimizers, by the same names.
    """

    networks: Mapping[str, nn.Module]
    optimizers: Mapping[str, Optimizer]

    def save(self, run: Path, step: int, facts: Mapping[str, Any], keep: int) -> Path:
        """Write the state after `step` steps, then remove all but the last `keep`.

        Args:
            run: the run's folder.
            step: how many steps are done.
            facts: what must be the same when the run goes on.
            keep: how many states stay.

        Raises:
            V2LError: the place cannot be written; older states stay as they were.
        """
        target = run / f"{PREFIX}{step:09d}"
        with write_directory(target) as folder:
            for name, network in self.networks.items():
                save_tensors(folder / f"{name}.safetensors", network.state_dict())
                save_tensors(folder / f"{name}-optimizer.safetensors", optimizer_tensors(self.optimizers[name]))
            write_manifest(folder, {"kind": KIND, "schema": SCHEMA, "step": step, "facts": dict(facts)})
        for old in saved_states(run)[:-keep]:
            shutil.rmtree(old)
        return target

    def load(self, folder: Path, facts: Mapping[str, Any]) -> int:
        """Go back to a saved state; returns its step.

        Raises:
            V2LError: the state is damaged, or belongs to a run with other facts; both values are printed.
        """
        manifest = read_manifest(folder, KIND, SCHEMA)
        for name, wanted in facts.items():
            if manifest["facts"].get(name) != wanted:
                raise V2LError(
                    f"{folder} was made with {name} = {manifest['facts'].get(name)!r}, now it is {wanted!r}",
                    "the same config and images as before",
                    "v2l train … -o ANOTHER_FOLDER",
                )
        for name, network in self.networks.items():
            network.load_state_dict(load_tensors(folder / f"{name}.safetensors"))
            load_optimizer_tensors(self.optimizers[name], load_tensors(folder / f"{name}-optimizer.safetensors"))
        return manifest["step"]


def saved_states(run: Path) -> list[Path]:
    """The states of a run, oldest first."""
    return sorted(path for path in run.glob(f"{PREFIX}*") if path.is_dir())


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The moments of an optimizer as flat tensors: `{parameter}.{moment}`."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": torch.as_tensor(value) for index, moments in state.items() for name, value in moments.items()}


def load_optimizer_tensors(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave; rates and settings stay the optimizer's own."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
