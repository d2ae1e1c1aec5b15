"""Two gloo processes stand for many GPUs: they stop together and have equal weights at the end."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import torch
from tiny_tokenizer import FOLDED, TOGETHER, tiny_tokenizer
from torch import Tensor

from v2l.datasets import ClassFolder, CropSettings
from v2l.image_sets import SetSettings, make_sets
from v2l.processes import start_processes
from v2l.sources import find_images
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.training.data import TrainingImages
from v2l.training.loop import TrainingLoop
from v2l.training.recipes.grid import GridRecipe, loop_settings

HERE = Path(__file__).resolve().parent


def test_two_processes_that_one_signal_stopped_and_that_went_on_train_the_network_that_one_trains(
    samples: Path, tmp_path: Path
) -> None:
    assert in_two_processes("two_processes.py", samples, tmp_path).startswith("2 processes, 4 steps")
    two = V2LTokenizer.from_pretrained(tmp_path / "model", device="cpu")
    assert two.facts["steps"] == 4

    images = TrainingImages(
        find_images(samples)[:6], CropSettings(32, (32, 48), True, 0), torch.zeros(6, 3, dtype=torch.int64)
    )
    one = tiny_tokenizer(FOLDED, replace(TOGETHER, accumulate=2))
    before = flat(one)
    recipe = GridRecipe(one, images, None, start_processes("cpu"))
    TrainingLoop(recipe, loop_settings(recipe, tmp_path / "one")).train(0, lambda *_: None)
    assert (flat(two) - flat(one)).norm() < 0.02 * (
        flat(one) - before
    ).norm()  # Adam turns rounding into steps


def test_an_adapter_for_sets_is_the_same_in_two_processes(
    samples: Path, tmp_path: Path, own_cache: None
) -> None:
    make_sets(ClassFolder.load(samples), tmp_path / "sets", SetSettings(2, 2, 1, 2, 2, 2))
    line = in_two_processes("two_processes_sets.py", tmp_path / "sets", tmp_path / "run")
    assert line.startswith("2 processes, 4 steps")


def in_two_processes(script: str, *arguments: Path) -> str:
    """The line that both processes print: a count of processes and steps, and a checksum of the weights."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"PYTHONPATH": str(HERE.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, str(HERE / script), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if "processes" in line]
    assert len(lines) == 2, done.stderr[-2000:]
    assert lines[0] == lines[1]
    return lines[0]


def flat(model: V2LTokenizer) -> Tensor:
    """All weights in one row."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()]).clone()
