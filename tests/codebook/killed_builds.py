"""run alone: builds killed by SIGKILL at three points and then finished, and one uninterrupted build.

Every build that dies is a process of its own, forked; the last ones are other processes than those that died.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from tiny_encoder import tiny_encoder
from tiny_llm import tiny_llm

from v2l.codebook import build as build_module
from v2l.codebook.build import CodebookBuilder
from v2l.config import CodebookConfig
from v2l.progress import silent
from v2l.shards import Shards
from v2l.sources import find_images

POINTS = (
    ("encoding images", 10),
    ("expanding to 3-grams", 1),
    ("embedding words", 50),
)  # step, items done at least

samples, folder = map(Path, sys.argv[1:])
torch.set_num_threads(1)  # a fork has no other threads
build_module.Shards = lambda place, step, progress, size, world: Shards(
    place, step, progress, min(size, 10 if "images" in step else 40)
)
encoder, llm, photographs = tiny_encoder(folder / "clip"), tiny_llm(), find_images(samples)


def build(name: str, progress: Callable[[str, int, int], None] = silent) -> None:
    config = CodebookConfig(templates=("a photo of a {}",))
    CodebookBuilder(encoder, llm, config, folder / f"{name}-work", progress).build(photographs, folder / name)


def die_at(point: tuple[str, int]) -> Callable[[str, int, int], None]:
    def progress(step: str, done: int, total: int) -> None:
        if step == point[0] and done >= point[1]:
            os.kill(os.getpid(), signal.SIGKILL)

    return progress


for point in POINTS:
    child = os.fork()
    if child == 0:
        torch.set_num_threads(
            1
        )  # torch renews its thread pool at its first use after a fork, and two readers at once would race for it
        build("killed", die_at(point))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    parts = len(list((folder / "killed-work").glob("*.safetensors")))
    print(
        f"signal {os.waitstatus_to_exitcode(status)}, {parts} parts, target {(folder / 'killed').exists()}",
        flush=True,
    )
build("killed")
build("whole")
