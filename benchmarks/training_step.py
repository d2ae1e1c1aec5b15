"""claim: at the paper's sizes a training step makes at least 1.8 times the images a second of the plain step.

    python benchmarks/training_step.py [--config paper] [--batch 2] [--size 128] [--entries 32000] [--repeats
    2] [--plain-repeats 2]

Both sides have the same network, codebooks and weights, one after the other in this process, the adversarial
term on. Random stand-ins, because v2l does not bring the files: the words' vectors (of LLaMA and CLIP), the
LPIPS backbone (of VGG16). The plain side is benchmarks/plain/training_step.py, which says what more it does.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import lpips
import torch
from plain.clock import timed
from plain.training_step import PlainStep
from torch.nn import functional

from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.config import Config, load_config
from v2l.perceptual import LPIPSDistance
from v2l.processes import start_processes
from v2l.tokenizers.cnn.encoder import to_network_range
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.training.data import Batch
from v2l.training.discriminator import build_discriminator
from v2l.training.loop import update_networks
from v2l.training.recipes.grid_losses import GridObjective

SOURCE = Source("random vectors", "none", "random vectors", "none")
GLOBAL_ENTRIES = 11908


def settings(name: str, batch: int) -> Config:
    """A preset with all terms on from the first step."""
    config = load_config(name)
    on = {
        "discriminator_start": 0.0,
        "adversarial_start": 0.0,
        "adversarial_ramp": 0.0,
        "quantizer_start": 0.0,
    }
    return replace(config, training=replace(config.training, batch_size=batch, **on))


def codebook(entries: int, dim: int, seed: int) -> Codebook:
    """Unit vectors drawn at random."""
    vectors = functional.normalize(
        torch.randn(entries, dim, generator=torch.Generator().manual_seed(seed)), dim=-1
    )
    return Codebook(tuple(Entry(f"word {row}", (row,), 1) for row in range(entries)), vectors, SOURCE)


def tokenizer(config: Config, entries: int, dim: int) -> V2LTokenizer:
    """The same weights every time."""
    torch.manual_seed(0)
    return V2LTokenizer(config, codebook(entries, dim, 1), codebook(min(entries, GLOBAL_ENTRIES), dim, 2))


def random_lpips() -> lpips.LPIPS:
    """LPIPS with the package's own weights over a VGG16 with random ones, frozen."""
    torch.manual_seed(0)
    return lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).eval().requires_grad_(False)


def first_and_best(step: Callable[[], dict[str, float]], repeats: int) -> tuple[dict[str, float], float]:
    """The terms of the first step, which warms up, and the seconds of the fastest of the later ones."""
    return step(), min(timed(step)[1] for _ in range(repeats))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="paper")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--entries", type=int, default=32000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--plain-repeats", type=int, default=2)
    given = parser.parse_args()
    config = settings(given.config, given.batch)
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(given.batch, 3, given.size, given.size, generator=generator)
    words = torch.randint(
        0, min(given.entries, GLOBAL_ENTRIES), (given.batch, config.model.global_tokens), generator=generator
    )

    ours = GridObjective(
        tokenizer(config, given.entries, given.dim),
        LPIPSDistance(random_lpips(), "random VGG16"),
        start_processes("cpu"),
    )
    plain = PlainStep(
        tokenizer(config, given.entries, given.dim),
        build_discriminator(),
        random_lpips(),
        ours.learning_rate(0),
    )
    plain.discriminator.load_state_dict(ours.networks["discriminator"].network.state_dict())
    parts = ours.parts(Batch(images, words))
    terms, seconds = first_and_best(lambda: update_networks(ours, 0, parts), given.repeats)
    expected, plain_seconds = first_and_best(
        lambda: plain(to_network_range(images), words), given.plain_repeats
    )

    weights = sum(parameter.numel() for parameter in ours.tokenizer.parameters())
    threads = torch.get_num_threads()
    print(
        f"{given.config}: {weights:,} weights, batch {given.batch}, {given.size} px, {given.entries:,} words, {threads} thread(s)"
    )
    print("random stand-ins: the words' vectors (LLaMA, CLIP), the LPIPS backbone (VGG16)")
    for name, passed in (("v2l", seconds), ("plain", plain_seconds)):
        print(f"{name:6} {passed:8.2f} s a step  {given.batch / passed:7.3f} images a second")
    print(f"speed  {plain_seconds / seconds:8.2f} times the plain one's")
    same = ", ".join(
        f"{name} {terms[name]:.5f} and {expected[name]:.5f}"
        for name in ("l1", "perceptual", "codebook", "adversarial", "ratio")
    )
    print(f"first step, v2l and plain: {same}")


if __name__ == "__main__":
    main()
