"""photographs ──► a page of what each number of words makes of them: the picture of docs/titok.md.

    python benchmarks/choices/latent_page.py imagenet-sample -o docs/figures/titok.jpg

The photographs are drawn by the seed, not selected. Rows: original, each length, the grid, WebP at its smallest.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

import torch

from v2l.drawings import image_grid
from v2l.evaluation.codecs import compress
from v2l.images import load_image, resize_and_crop, save_image
from v2l.sources import find_images
from v2l.tokenizers.loading import load_tokenizer

SIDE, CELL = 128, 96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("place")
    parser.add_argument("--tokenizer", default="titok")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/figures/titok.jpg"))
    given = parser.parse_args()
    files = random.Random(0).sample(find_images(given.place), given.count)
    crops = torch.stack([resize_and_crop(load_image(file), SIDE) for file in files])
    latents, grid = load_tokenizer(given.tokenizer), load_tokenizer("v2l")
    rows = [list(crops)]
    for length in latents.lengths:
        model = latents.with_length(length)
        rows.append(list(model.decode(model.encode(crops)).cpu()))
    rows.append(list(torch.cat([grid.decode(grid.encode(crop[None])).cpu() for crop in crops])))
    rows.append([compress(crop, "WebP", 1).image for crop in crops])
    save_image(image_grid(rows, [[""] * len(crops)] * len(rows), cell=CELL), given.output)
    print(given.output, *files, sep="\n")


if __name__ == "__main__":
    main()
