"""question: which features name a region of a known box best?

python benchmarks/choices/region_features.py caltech101 [--seed 77] [--mosaics 4:24,9:12] [--trained DIR,DIR]

Mosaics of the training part of a folder of classes. A region is named by the nearest of all class names. The
encoder of a map is read once; overlapping crops are squares of the encoder's own size, half a square apart,
whose maps are averaged where they overlap. "stride 16" keeps the last stages at 16 pixels a position by
dilation. The embedded encoder only.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import timm
import torch
from torch import Tensor

from v2l.datasets import ClassFolder
from v2l.encoders import JointEncoder
from v2l.encoders.conse import load_lite_weights
from v2l.evaluation.class_names import ClassNames
from v2l.evaluation.mosaic_pictures import Mosaic, Photograph, draw_mosaics
from v2l.evaluation.table import markdown_table
from v2l.images import load_image
from v2l.metrics import Mean, Proportion
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokenizers.part_views import encode_boxes
from v2l.tokenizers.placed_words import shipped_tagger
from v2l.tokenizers.regions.levels import align, mean_of_boxes, read_levels
from v2l.tokenizers.regions.model import RegionTokenizer
from v2l.zoo import embedded_path

CROP, STEP, CELL = 260, 130, 8  # pixels: an overlapping crop, between two of them, a cell of the joined map
FIRST = "mean of one pass"
Ways = dict[str, Callable[[Tensor, Mosaic], Tensor]]  # image (3, H, W), mosaic ──► vectors (N, D)


def overlapping_crops(encoder: JointEncoder, image: Tensor) -> Tensor:
    """The joined map of crops: (1, C, H / 8, W / 8)."""
    height, width = image.shape[-2:]
    joined: Tensor = torch.zeros(())
    counts = torch.zeros(height // CELL, width // CELL)
    for top in starts(height):
        for left in starts(width):
            crop = image[None, :, top : top + CROP, left : left + CROP]
            cells = CROP // CELL
            enlarged = torch.nn.functional.interpolate(
                encoder.patch_features(crop).movedim(-1, 1), size=(cells, cells)
            )
            if joined.ndim == 0:
                joined = torch.zeros(1, enlarged.shape[1], *counts.shape)
            y, x = min(top // CELL, counts.shape[0] - cells), min(left // CELL, counts.shape[1] - cells)
            joined[..., y : y + cells, x : x + cells] += enlarged
            counts[y : y + cells, x : x + cells] += 1
    return joined / counts.clamp(min=1)


def starts(length: int) -> list[int]:
    """Where crops begin along a side, evenly."""
    parts = max(1, round((length - CROP) / STEP))
    return [round(part * (length - CROP) / parts) for part in range(parts + 1)]


def finer_encoder(encoder: Any) -> Callable[[Tensor], Tensor]:
    """Images ──► a map (1, C, h, w) with 16 pixels a position in place of 32, by the same weights."""
    network = timm.create_model("tf_efficientnet_lite2", pretrained=False, output_stride=16)
    load_lite_weights(network, embedded_path("efficientnet-lite2"))
    network.eval()

    def read(image: Tensor) -> Tensor:
        side = min(max(min(image.shape[-2:]), 520), 780)
        features: Tensor = network.forward_features(encoder._seen(image[None], side))
        return features

    return read


def ways(encoder: Any, trained: list[str]) -> Ways:
    """Each way from a mosaic to the vectors of its photographs."""
    finer = finer_encoder(encoder)

    def one(image: Tensor) -> Tensor:
        return read_levels(encoder, image)[0]

    def larger(image: Tensor) -> Tensor:
        side = round(1.5 * min(image.shape[-2:]))
        return encoder.patch_features(image[None], side).movedim(-1, 1)

    def boxes(mosaic: Mosaic) -> Tensor:
        return torch.tensor(mosaic.boxes)

    def mean(read: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Mosaic], Tensor]:
        return lambda image, mosaic: encoder.to_joint_space(mean_of_boxes(read(image), boxes(mosaic)))

    def middle(image: Tensor, mosaic: Mosaic) -> Tensor:
        grids = align(one(image), boxes(mosaic), 4)
        return encoder.to_joint_space(grids[..., 1:3, 1:3].mean(dim=(-2, -1)))

    def maximum(image: Tensor, mosaic: Mosaic) -> Tensor:
        return encoder.to_joint_space(align(one(image), boxes(mosaic), 4).amax(dim=(-2, -1)))

    def itself(image: Tensor, mosaic: Mosaic) -> Tensor:
        return torch.cat([encoder.encode_images(load_image(file)[None]) for file in mosaic.files])

    found: Ways = {
        FIRST: mean(one),
        "middle of one pass": middle,
        "maximum of one pass": maximum,
        "mean of one pass, 1.5 times larger": mean(larger),
        "mean of one pass, stride 16": mean(finer),
        "mean of overlapping crops": mean(lambda image: overlapping_crops(encoder, image)),
        "crop of each region": lambda image, mosaic: encode_boxes(encoder, image, mosaic.boxes),
        "each photograph by itself": itself,
    }
    for folder in trained:
        tokenizer = load_tokenizer(folder, "cpu")
        assert isinstance(tokenizer, RegionTokenizer)
        tokenizer.namer.use_joint_encoder(encoder)
        found[f"trained: {Path(folder).parent.name}"] = lambda image, mosaic, tokenizer=tokenizer: (
            tokenizer.vectors(image, boxes(mosaic))
        )
    return found


@torch.inference_mode()
def main() -> None:
    """Read the arguments, measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("place")
    parser.add_argument("--seed", type=int, default=77)
    parser.add_argument("--mosaics", default="4:24,9:12")
    parser.add_argument("--trained", default="")
    given = parser.parse_args()
    torch.set_num_threads(1)
    classes = ClassFolder.load(given.place, "train").classes
    photographs = [Photograph(file, ClassNames((name,))) for name, files in classes.items() for file in files]
    encoder = shipped_tagger().joint_encoder("cpu")
    names = list(classes)
    texts = encoder.encode_texts([f"a photo of a {name}" for name in names])
    right: dict[str, list[float]] = defaultdict(list)
    seconds: dict[str, list[float]] = defaultdict(list)
    methods = ways(encoder, [folder for folder in given.trained.split(",") if folder])
    for number, count in (map(int, pair.split(":")) for pair in given.mosaics.split(",")):
        for mosaic in draw_mosaics(photographs, number, count, given.seed):
            image = mosaic.picture()
            labels = [photograph.names.names[0] for photograph in mosaic.photographs]
            for method, read in methods.items():
                start = process_time()
                nearest = (read(image, mosaic) @ texts.T).argmax(dim=1).tolist()
                seconds[method].append(process_time() - start)
                right[method] += [
                    float(names[row] == label) for row, label in zip(nearest, labels, strict=True)
                ]
    print(table(right, seconds))


def table(right: dict[str, list[float]], seconds: dict[str, list[float]]) -> str:
    """For people."""
    rows = []
    for method, found in right.items():
        difference = Mean.of([one - other for one, other in zip(found, right[FIRST], strict=True)])
        low, high = difference.interval
        rows.append(
            [
                method,
                str(Proportion(round(sum(found)), len(found))),
                f"{100 * difference.value:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})",
                f"{Mean.of(seconds[method]).value:.2f}",
            ]
        )
    return markdown_table(["vectors of a region", "named right", f"minus {FIRST}", "CPU seconds"], rows)


if __name__ == "__main__":
    main()
