"""two tokenizers that decode, same photographs ──► figures of both, and the paired difference, second minus first.

    python benchmarks/choices/two_codebooks.py PLACE --tokenizer DIR DIR [--limit 200]

Centre crops of 128 × 128 pixels, in 8 bits, without any codec beside them: of two checkpoints that differ in the
codebook alone this is what frozen words cost. For a table with codecs: v2l evaluate tokenizers.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from random import Random

import torch
from torch import Tensor

from v2l.evaluation.reconstruction import ReconstructionMetrics
from v2l.evaluation.reconstruction_methods import ReconstructedImages, in_8_bits
from v2l.evaluation.table import markdown_table
from v2l.images import load_image, resize_and_crop
from v2l.metrics import FrechetDistance, Mean
from v2l.sources import find_images
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.loading import load_tokenizer

SIDE, BATCH = 128, 20
FIGURES = {"psnr": "PSNR RGB, dB", "ssim": "SSIM", "perceptual": "perceptual distance"}


class Figures:
    """What is measured of one tokenizer, photograph by photograph."""

    def __init__(self, tokenizer: ImageTokenizer) -> None:
        self.tokenizer = tokenizer
        self.values: dict[str, list[float]] = {name: [] for name in FIGURES}
        self.ids: list[Tensor] = []
        self.features: list[Tensor] = []

    @torch.inference_mode()
    def add(self, crops: Tensor, metrics: ReconstructionMetrics) -> None:
        """Encode and decode crops (B, 3, S, S) in [0, 1]."""
        tokens = self.tokenizer.encode(crops)
        images = in_8_bits(self.tokenizer.decode(tokens).clamp(0, 1)).cpu()
        found = metrics.figures(ReconstructedImages(images, [0.0] * len(images)), crops)
        for name in FIGURES:
            self.values[name] += found[name]
        self.ids.append(tokens.ids.flatten().cpu())
        self.features.append(metrics.describe(images))

    def row(self, originals: Sequence[Tensor]) -> list[str]:
        """The cells of the table."""
        counts = torch.cat(self.ids).bincount().double()
        shares = counts[counts > 0] / counts.sum()
        distance = FrechetDistance(originals[0].shape[1])
        for own, other in zip(self.features, originals, strict=True):
            distance.add(own, other)
        means = [str(Mean.of(values)) for values in self.values.values()]
        entropy = -(shares * shares.log2()).sum().item()
        return [*means, f"{distance.value:.1f}", f"{len(shares):,}", f"{entropy:.2f}"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("place", nargs="+")
    parser.add_argument("--tokenizer", nargs=2, required=True)
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    tokenizers = [load_tokenizer(name, "cpu") for name in given.tokenizer]
    metrics = ReconstructionMetrics.load(*tokenizers)
    files = find_images(*given.place)
    files = Random(given.seed).sample(files, min(given.limit, len(files)))
    both, originals = [Figures(tokenizer) for tokenizer in tokenizers], []
    for start in range(0, len(files), BATCH):
        some = [load_image(file)[None] for file in files[start : start + BATCH]]
        crops = in_8_bits(torch.cat([resize_and_crop(image, SIDE) for image in some]))
        originals.append(metrics.describe(crops))
        for figures in both:
            figures.add(crops, metrics)
    head = [f"n = {len(files)}", *FIGURES.values(), "FD-EffNet", "codes in use", "bits a token"]
    rows = [[name, *figures.row(originals)] for name, figures in zip(given.tokenizer, both, strict=True)]
    print(markdown_table(head, rows))
    for name, title in FIGURES.items():
        pairs = zip(both[0].values[name], both[1].values[name], strict=True)
        change = Mean.of([second - first for first, second in pairs])
        low, high = change.interval
        print(f"{title}, second minus first: {change.value:+.4f} ({low:+.4f} to {high:+.4f})")


if __name__ == "__main__":
    main()
