"""run by torchrun: train a tiny tokenizer, stop, go on, and print the number of processes and a checksum."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from tiny_tokenizer import FOLDED, TOGETHER, tiny_tokenizer

from v2l.datasets import CropSettings
from v2l.processes import start_processes
from v2l.sources import find_images
from v2l.training.data import TrainingImages
from v2l.training.loop import TrainingLoop
from v2l.training.recipes.grid import GridRecipe, loop_settings

samples, run = map(Path, sys.argv[1:])
images = TrainingImages(
    find_images(samples)[:6], CropSettings(32, (32, 48), True, 0), torch.zeros(6, 3, dtype=torch.int64)
)
world = start_processes("cpu")


def build() -> TrainingLoop:
    """The run, from the state in which it was left."""
    recipe = GridRecipe(tiny_tokenizer(FOLDED, TOGETHER), images, None, world, seed=0)
    return TrainingLoop(recipe, loop_settings(recipe, run))


def stop_the_second(step: int, terms: dict[str, float]) -> None:
    """Only one process gets a signal."""
    if step == 2 and world.process_index == 1:
        os.kill(os.getpid(), signal.SIGTERM)


assert build().train(0, stop_the_second) == 2, "all stop after the same step"
loop = build()
steps = loop.train(loop.resume(), lambda *_: None)
weights = torch.cat([parameter.detach().flatten() for parameter in loop.recipe.tokenizer.parameters()])
line = f"{world.num_processes} processes, {steps} steps, {weights.double().sum().item()!r}\n"
os.write(1, line.encode())  # in one piece: both processes write
