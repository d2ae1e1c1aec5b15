"""claim: a caption from soft tokens takes at most 1.5 times as long as one from words; and where a step goes.

    python benchmarks/adapter.py [ADAPTER] [--images FOLDER] [--batch-size 8] [--rounds 3]

ADAPTER is the folder `model` of `v2l train-adapter`. Without it, an adapter `sea` of 9 soft tokens is fitted to
the images and not trained. Captions of the same images are written in turns, one image at a time, image encoder
included. A training step of the adapter is then taken apart: the image encoder, which a training runs once and
not in every step, the adapter, and the frozen LLM, forwards and backwards.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from plain.clock import timed

from v2l.captions import LeftOutCaptions
from v2l.images import Skipped, load_image
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.description.describe import Describer, DescribeSettings
from v2l.training.recipes.adapter import AdapterRecipe, AdapterRun, caption_loss, stacked
from v2l.training.recipes.adapter_data import read_places
from v2l.training.recipes.adapter_models import AdapterModels
from v2l.training.recipes.adapter_run import AdapterTraining

SAMPLES = Path(__file__).resolve().parents[1] / "data" / "samples"
CLAIM = 1.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("adapter", nargs="?", type=Path)
    parser.add_argument("--images", default=str(SAMPLES))
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    words = Pipeline.load(device="cpu")
    images = read_places([given.images], None, LeftOutCaptions())
    models = AdapterModels(words.joint_encoder, words.llm, words.tokenizer.global_codebook)
    with tempfile.TemporaryDirectory() as folder:
        run = AdapterRun(Path(folder), batch_size=given.batch_size, align=0.5)
        recipe = AdapterTraining("sea", 9, images, run).recipe(models, lambda *_: None, None)
    soft = Pipeline.load(str(given.adapter), device="cpu") if given.adapter else None
    soft = soft or Pipeline(recipe.tokenizer.eval(), words.llm)
    compare_captions(words, soft, [image.file for image in images], given.rounds)
    split_step(recipe, given.rounds)


def compare_captions(words: Pipeline, soft: Pipeline, files: list[Any], rounds: int) -> None:
    """Seconds of a caption by both, in turns."""
    clock = Clock()
    writers = {
        "words": Describer(words, "caption", DescribeSettings()),
        "soft tokens": Describer(soft, "caption", DescribeSettings()),
    }
    for writer in writers.values():
        write(writer, files[0])  # warm-up, not timed
    for file in files * rounds:
        for name, writer in writers.items():
            clock.time(name, write, writer, file)
    for name in writers:
        print(f"{name:12s} {clock.median(name):6.3f} s a caption, median of {len(clock.seconds[name])}")
    ratio = clock.median("soft tokens") / clock.median("words")
    print(f"ratio {ratio:.2f}, claimed at most {CLAIM}: {'met' if ratio <= CLAIM else 'missed'}\n")


def write(writer: Describer, file: Any) -> None:
    """One caption, from the file to the text."""
    list(writer.over([file], Skipped()))


def split_step(recipe: AdapterRecipe, rounds: int) -> None:
    """Seconds of the parts of one training step."""
    ((part, *_),) = recipe.batches(0, 1)
    tokenizer, encoder = recipe.tokenizer.train(), recipe.tokenizer.joint_encoder
    files = [recipe.examples.data.images[example.place].file for example in part]
    squares, features = (
        torch.stack([encoder.prepare(load_image(file)) for file in files]),
        stacked([example.features for example in part]),
    )
    for clock in (Clock(), step := Clock()):  # the first is a warm-up
        for _ in range(rounds):
            clock.time("image encoder", encoder.patch_features, squares)
            soft = clock.time("adapter, forward", tokenizer, features)
            read = soft.detach().requires_grad_()
            loss = clock.time("LLM, forward", caption_loss, recipe.llm, list(read), part)
            (gradient,) = clock.time("LLM, backward", torch.autograd.grad, loss, read)
            clock.time("adapter, backward", soft.backward, gradient)
    print(f"{step.median('image encoder'):.3f} s to encode {len(part)} images, once and not in every step")
    parts = [name for name in step.seconds if name != "image encoder"]
    whole = sum(step.median(name) for name in parts)
    print(f"{whole:.3f} s for a step of {len(part)} sentences:")
    for name in parts:
        print(f"  {name:18s} {step.median(name) / whole:6.1%}")


class Clock:
    """Seconds of named pieces of work."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def time(self, name: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """The result of some work, whose seconds are kept under a name."""
        result, taken = timed(lambda: work(*arguments))
        self.seconds.setdefault(name, []).append(taken)
        return result

    def median(self, name: str) -> float:
        """The median of the seconds of a name."""
        return median(self.seconds[name])


if __name__ == "__main__":
    main()
