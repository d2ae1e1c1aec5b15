"""photographs ──► tokens: images per second, share of the forward passes, two processes against one.

    python benchmarks/tokenizing.py [PLACE …] [--images N] [--batch B] [--checkpoint DIR]

Each line is one run of `torchrun --standalone --nproc_per_node P`. The cores are divided among the P
processes. Models are loaded and warmed up before the clock starts. The time is that of the slowest process.
When there are fewer photographs than --images, they are repeated. The steps of `V2LTokenizer.encode` are
timed one by one, and the tokens of the first photograph are compared with those of `encode`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from v2l.images import load_image, resize_and_crop
from v2l.processes import join_world
from v2l.sources import ImageFile, find_images
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.tokens import ImageTokens

FORWARD = ("joint encoder", "CNN encoder")
STEPS = ("reading", "resizing", *FORWARD, "nearest entries", "nearest words")
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Clock:
    """Seconds by step; the time of an inner step is not counted for the outer one."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count the block's own time."""
        self._inner.append(0.0)
        start = perf_counter()
        yield
        passed = perf_counter() - start
        self.seconds[name] += passed - self._inner.pop()
        self._inner[-1] += passed

    def watch(self, owner: Any, method: str, name: str) -> None:
        """Count every call of a method."""
        call: Callable[..., Any] = getattr(owner, method)

        def counted(*args: Any, **kwargs: Any) -> Any:
            with self.step(name):
                return call(*args, **kwargs)

        setattr(owner, method, counted)


def tokenize(tokenizer: V2LTokenizer, files: Sequence[ImageFile], clock: Clock) -> ImageTokens:
    """The tokens of one batch of photographs, by the steps of `encode`."""
    with clock.step("reading"):
        images = [load_image(file) for file in files]
    with clock.step("resizing"):
        whole = torch.stack([tokenizer.joint_encoder.prepare(image) for image in images])
        crops = torch.stack([resize_and_crop(image, tokenizer.config.model.image_size) for image in images])
    with clock.step("nearest words"):
        rows: Tensor = tokenizer.global_tokens(whole)[1]
    with clock.step("nearest entries"):
        return ImageTokens(rows, tokenizer.encode_local(crops))


def work(given: argparse.Namespace) -> None:
    """Tokenize one process's share; the first process prints the times of all."""
    world = join_world("cpu")
    tokenizer = V2LTokenizer.from_pretrained(given.checkpoint, world.device)
    files = list(islice(cycle(find_images(*given.places)), given.images))[world.index :: world.count]
    first = tokenizer.encode(load_image(files[0])[None])
    clock = Clock()
    clock.watch(tokenizer.joint_encoder, "encode_images", "joint encoder")
    clock.watch(tokenizer, "features", "CNN encoder")
    again = tokenize(tokenizer, files[:1], clock)
    assert torch.equal(first.global_ids, again.global_ids), "other global words than encode gives"
    assert torch.equal(first.local_ids, again.local_ids), "other local words than encode gives"
    tokenize(tokenizer, files[: given.batch], clock)
    clock.seconds.clear()
    world.wait()
    start = perf_counter()
    for place in range(0, len(files), given.batch):
        tokenize(tokenizer, files[place : place + given.batch], clock)
    passed = torch.zeros(world.count, dtype=torch.float64)
    passed[world.index] = perf_counter() - start
    passed = world.total(passed)
    steps = world.total(torch.tensor([clock.seconds[name] for name in STEPS], dtype=torch.float64))
    if world.leads:
        shares = dict(zip(STEPS, (steps / passed.sum()).tolist(), strict=True))
        print(json.dumps({"images_per_second": given.images / passed.max().item(), "shares": shares}))


def launch(processes: int, arguments: Sequence[str]) -> dict[str, Any]:
    """The same in a number of processes."""
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        str(processes),
        __file__,
        *arguments,
    ]
    threads = {
        "OMP_NUM_THREADS": str(max(1, CORES // processes)),
        "OMP_WAIT_POLICY": "passive",
        "HF_HUB_OFFLINE": "1",
    }
    answer = subprocess.run(
        [*command, "--work"], env=os.environ | threads, stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> None:
    """Print one line for each number of processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("places", nargs="*", default=["data/samples"], metavar="PLACE")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--checkpoint")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        work(given)
        return
    print(
        f"{given.images} photographs of {', '.join(given.places)}, batches of {given.batch}, "
        f"{CORES} cores, conse and the checkpoint"
    )
    speeds = {}
    for processes in (1, 2):
        run = launch(processes, sys.argv[1:])
        shares, speeds[processes] = run["shares"], run["images_per_second"]
        by_step = ", ".join(f"{name} {share:.0%}" for name, share in shares.items())
        forward = sum(shares[name] for name in FORWARD)
        print(
            f"{processes} process(es): {speeds[processes]:5.1f} images/s; forward passes {forward:.0%} "
            f"({by_step})"
        )
    print(f"two processes against one: {speeds[2] / speeds[1]:.2f} times")


if __name__ == "__main__":
    main()
