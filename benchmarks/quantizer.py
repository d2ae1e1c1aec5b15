"""claim: the quantizer needs a fifth of the plain formula's memory or less, is faster, and is equal.

    python benchmarks/quantizer.py [--vectors 4096] [--entries 32000] [--width 768] [--repeats 3]

Forward and backward passes are measured, each method in its own process. Memory is the peak above the inputs.
Time is the best of the repeats. The lower bound of an exact search is printed, too: the two matrix products
words × projection and features × entries, in chunks that fit the cache.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import torch
from plain.clock import timed
from plain.quantizer import quantize_plainly
from torch import Tensor

from v2l.tokenizers.quantizers.base import CHUNK_BYTES, Quantized
from v2l.tokenizers.quantizers.frozen_words import LocalQuantizer
from v2l.training.plan import peak_memory

CELLS = 16  # side of the token grid


def inputs(given: argparse.Namespace) -> tuple[LocalQuantizer, Tensor]:
    """Random unit vectors for words and features; the projection has its initial weights."""
    torch.manual_seed(0)
    words = torch.nn.functional.normalize(torch.randn(given.entries, given.width), dim=-1)
    features = torch.randn(given.vectors // CELLS**2, given.width, CELLS, CELLS)
    return LocalQuantizer(words, given.width), torch.nn.functional.normalize(features, dim=1).requires_grad_()


def sides(quantizer: LocalQuantizer) -> dict[str, Callable[[Tensor], Quantized]]:
    """Both methods by name."""
    weights = quantizer.commitment_weight, quantizer.codebook_weight
    return {
        "v2l": quantizer,
        "plain": lambda features: quantize_plainly(
            features, quantizer.embeddings, quantizer.projection, *weights
        ),
    }


def work(side: str, given: argparse.Namespace) -> dict[str, Any]:
    """One method: seconds, MB above the inputs, and sums of its results for comparison."""
    quantizer, features = inputs(given)
    quantize = sides(quantizer)[side]

    def forward_and_backward() -> Quantized:
        quantizer.zero_grad(set_to_none=True)
        features.grad = None
        torch.autograd.graph.increment_version(
            quantizer.projection.parameters()
        )  # as after an optimizer step: the cached projection is invalid
        done = quantize(features)
        (done.loss + (done.quantized * features.detach()).mean()).backward()
        return done

    before, seconds = peak_memory() or 0, []
    for _ in range(given.repeats):
        done = None  # frees the previous result, as a training step does
        done, passed = timed(forward_and_backward)
        seconds.append(passed)
    peak = peak_memory() or 0
    sums = {
        "indices": done.indices.sum().item(),
        "loss": done.loss.item(),
        "features": features.grad.norm().item(),
        "projection": quantizer.projection.weight.grad.norm().item(),
    }
    return {"seconds": min(seconds), "megabytes": (peak - before) / 2**20, "sums": sums}


@torch.no_grad()
def products(given: argparse.Namespace) -> float:
    """Seconds of the two matrix products alone."""
    quantizer, features = inputs(given)
    flat, chunk = features.movedim(1, -1).reshape(-1, given.width), max(1, CHUNK_BYTES // (4 * given.entries))
    weight = quantizer.projection.weight

    def multiply() -> None:
        entries = quantizer.embeddings @ weight.T
        for part in flat.split(chunk):
            part @ entries.T

    return min(timed(multiply)[1] for _ in range(given.repeats))


def alone(side: str) -> dict[str, Any]:
    """One method in its own process."""
    answer = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--side", side],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--vectors", type=int, default=4096, help=f"a multiple of {CELLS**2}")
    parser.add_argument("--entries", type=int, default=32000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        print(json.dumps(products(given) if given.side == "products" else work(given.side, given)))
        return
    ours, plain, floor = alone("v2l"), alone("plain"), alone("products")
    print(
        f"{given.vectors:,} vectors x {given.entries:,} entries x {given.width}, "
        f"forward and backward, {torch.get_num_threads()} thread(s)"
    )
    for name, run in (("v2l", ours), ("plain", plain)):
        print(f"{name:6} {run['seconds']:8.3f} s  {run['megabytes']:8.0f} MB above the inputs")
    print(f"memory {ours['megabytes'] / plain['megabytes']:8.3f} of the plain formula")
    print(f"speed  {plain['seconds'] / ours['seconds']:8.2f} times the plain formula")
    print(
        f"matrix products alone {floor:.3f} s: "
        f"v2l takes {ours['seconds'] / floor:.2f} times that, plain {plain['seconds'] / floor:.2f}"
    )
    worst = max(abs(ours["sums"][name] - value) / abs(value) for name, value in plain["sums"].items())
    print(f"indices, loss and gradients: largest relative difference {worst:.1e}")


if __name__ == "__main__":
    main()
