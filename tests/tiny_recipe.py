"""a seed ──► the smallest recipe: a linear autoencoder of random vectors, with one network and one loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from v2l.checkpoint import save_tensors, write_directory, write_manifest
from v2l.processes import Accelerator, start_processes
from v2l.training.optimizer_step import OptimizerStep
from v2l.training.recipe import Loss, Recipe, Terms
from v2l.training.schedule import WarmupCosine

WIDTH, CODE, BATCH = 12, 3, 8


class LinearAutoencoder(Recipe[Tensor]):
    """Vectors (B, 12) ──► codes (B, 3) ──► vectors."""

    name, result = "linear-autoencoder", "model"
    examples_per_step = BATCH

    def __init__(self, steps: int, parts: int = 1, seed: int = 0, world: Accelerator | None = None) -> None:
        self.processes, self.seed, self.parts = world or start_processes("cpu"), seed, parts
        self.schedule = WarmupCosine(1e-2, steps, warmup=2)
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(WIDTH, CODE), nn.Linear(CODE, WIDTH)).to(self.processes.device)
        optimizer = torch.optim.AdamW(self.network.parameters())
        self.networks = {"model": OptimizerStep(self.network, optimizer, self.processes, clip_norm=1.0)}

    def learning_rate(self, step: int) -> float:
        return self.schedule.at(step)

    def batches(self, first: int, last: int) -> Iterator[Sequence[Tensor]]:
        for step in range(first, last):
            yield vectors(self.seed + step).to(self.processes.device).split(BATCH // self.parts)

    def loss(self, step: int, part: Tensor, network: str) -> Loss:
        noisy = part + 0.1 * torch.randn(()).item()  # drawn from the seed of the step
        error = (self.networks[network].prepared(noisy) - part).square().mean()
        return Loss(error, {"l2": error.detach()})

    def metadata(self) -> dict[str, Any]:
        return {"seed": self.seed, "steps": self.schedule.steps, "parts": self.parts}

    def validate(self, step: int) -> Terms:
        held_out = vectors(10**6)
        with torch.no_grad():
            return {"l2": (self.network(held_out) - held_out).square().mean().item()}

    def page(self, step: int) -> Tensor:
        return self.network[1].weight.detach().sigmoid().expand(3, WIDTH, CODE)

    def save_result(self, folder: Path, step: int) -> None:
        with write_directory(folder) as draft:
            save_tensors(draft / "model.safetensors", self.network.state_dict())
            write_manifest(draft, {"kind": "linear-autoencoder", "schema": 1, "steps": step})


def vectors(seed: int) -> Tensor:
    """(B, 12) of rank 3."""
    mixing = torch.randn(CODE, WIDTH, generator=torch.Generator().manual_seed(0))
    return torch.randn(BATCH, CODE, generator=torch.Generator().manual_seed(seed)) @ mixing
