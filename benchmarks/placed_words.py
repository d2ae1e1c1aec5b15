"""claim: what words with places cost, beside one pass of the encoder; and a page of unselected photographs.

python benchmarks/placed_words.py PLACE [--tokenizers setok,groma,slices] [--count 24] [--seed 0] [-o page.png]

The photographs are the first that the seed draws. Times are CPU seconds of one thread, so other programs on
the machine change them little; the ratio changes less. A pass is one image that the frozen encoder reads, of
any size.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from random import Random
from time import process_time
from typing import Any

import torch
from torch import Tensor

from v2l.drawings import image_grid
from v2l.encoders import JointEncoder
from v2l.evaluation.table import markdown_table
from v2l.images import load_image, save_image
from v2l.metrics import Mean
from v2l.sources import find_images
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokenizers.placed_words import PlacedWordsTokenizer, shipped_tagger

COLUMNS, CELL = (
    2,
    420,
)  # photographs in a row of the page, each with one picture a tokenizer; pixels a picture
READERS = ("encode_images", "patch_features", "feature_levels")


@dataclass
class Costs:
    """What each photograph cost.

    Attributes:
        seconds: of one thread.
        passes: images that the encoder read.
        words: tokens with a word.
    """

    seconds: list[float] = field(default_factory=list)
    passes: list[float] = field(default_factory=list)
    words: list[float] = field(default_factory=list)


def count_passes(encoder: JointEncoder) -> list[int]:
    """A list that from now on grows by the number of images of each call of the encoder."""
    calls: list[int] = []

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(images: Tensor, *rest: Any) -> Any:
            calls.append(len(images))
            return method(images, *rest)

        return call

    for name in READERS:
        setattr(encoder, name, counted(getattr(encoder, name)))
    return calls


def read(tokenizer: PlacedWordsTokenizer, image: Tensor, calls: list[int], costs: Costs) -> Tensor:
    """Encode one image and note what it cost; returns its outlines with words."""
    before, start = sum(calls), process_time()
    tokens = tokenizer.encode(image[None])
    costs.seconds.append(process_time() - start)
    costs.passes.append(sum(calls) - before)
    costs.words.append(len(tokens.strings()))
    return tokenizer.explain(image, tokens).picture


def table(costs: dict[str, Costs], one_pass: list[float]) -> str:
    """For people."""
    unit = Mean.of(one_pass).value
    rows = [
        [
            name,
            f"{Mean.of(cost.words).value:.1f}",
            f"{min(cost.passes):.0f} to {max(cost.passes):.0f}",
            f"{Mean.of(cost.seconds).value:.2f}",
            f"{Mean.of(cost.seconds).value / unit:.1f}",
        ]
        for name, cost in costs.items()
    ]
    head = ["tokenizer", "words", "encoder passes", "CPU seconds an image", "times one pass of the encoder"]
    return f"one pass at the encoder's own size: {unit:.2f} s\n\n{markdown_table(head, rows)}"


def main() -> None:
    """Read the arguments, measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("place")
    parser.add_argument("--tokenizers", default="setok,groma,slices")
    parser.add_argument("--count", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = find_images(given.place)
    files = Random(given.seed).sample(found, min(given.count, len(found)))
    encoder = shipped_tagger().joint_encoder("cpu")
    tokenizers = {name: load_tokenizer(name, "cpu") for name in given.tokenizers.split(",")}
    for tokenizer in tokenizers.values():
        assert isinstance(tokenizer, PlacedWordsTokenizer)
        tokenizer.namer.use_joint_encoder(encoder)
        tokenizer.encode(load_image(files[0])[None])  # the first pass is slower
    calls, costs = count_passes(encoder), {name: Costs() for name in tokenizers}
    one_pass, pictures = [], []
    for file in files:
        image = load_image(file)
        start = process_time()
        encoder.encode_images(image[None])
        one_pass.append(process_time() - start)
        pictures.append([read(tokenizers[name], image, calls, costs[name]) for name in tokenizers])
    print(table(costs, one_pass))
    if given.output:
        labels = [[f"{file.name} {name}" for name in tokenizers] for file in files]
        save_image(image_grid(in_rows(pictures), in_rows(labels), CELL), given.output)


def in_rows(parts: list[list[Any]]) -> list[list[Any]]:
    """What belongs to each photograph ──► rows of the page."""
    starts = range(0, len(parts), COLUMNS)
    return [list(chain.from_iterable(parts[start : start + COLUMNS])) for start in starts]


if __name__ == "__main__":
    main()
