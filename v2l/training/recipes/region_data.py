"""photographs + joint encoder ──► examples of regions: what one pass sees in a box, and what its crop says.

Canvases of one or several photographs and boxes in them are drawn by the seed. The encoder reads a canvas
once, and RoIAlign pools its feature maps in each box. It also reads the crop of each box: that vector is what
the region encoder learns to give. No label is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from random import Random

import torch
from torch import Tensor

from v2l.canvases import Canvas, draw_canvas
from v2l.encoders import JointEncoder
from v2l.encoders.image_features import is_readable
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.mapped import on_disk
from v2l.places import Box
from v2l.progress import Progress, silent
from v2l.shards import Shards
from v2l.sources import ImageFile, image_version
from v2l.tokenizers.part_views import encode_boxes
from v2l.tokenizers.regions.levels import SIDES, align, read_levels
from v2l.training.data import files_fingerprint
from v2l.zoo import cache_home

NUMBERS = (1, 4, 1, 9, 1, 2, 1, 6)  # photographs of one canvas after another
SMALLEST = 0.2  # side of a box, in shares of the canvas
SHARD = 25  # canvases in one file of the cache


@dataclass(frozen=True)
class BoxedCanvas:
    """One canvas, or one photograph, and the boxes in it.

    Attributes:
        canvas: None for a photograph by itself.
        files: the photographs.
        versions: of the files, so that a changed file is read again.
        boxes: K, in shares of the sides.
    """

    canvas: Canvas | None
    files: tuple[ImageFile, ...]
    versions: tuple[tuple[int, int] | None, ...]
    boxes: tuple[Box, ...]

    def picture(self) -> Tensor:
        """(3, H, W) in [0, 1].

        Raises:
            V2LError: a file is no readable image.
        """
        return self.canvas.picture() if self.canvas else load_image(self.files[0])


def draw_boxed(files: Sequence[ImageFile], canvases: int, boxes: int, seed: int) -> list[BoxedCanvas]:
    """Draw canvases and boxes; equal arguments give equal ones, and fewer canvases are the first of more."""
    drawn = []
    for index in range(canvases):
        random = Random(f"{seed}/{index}")
        number = min(NUMBERS[index % len(NUMBERS)], len(files))
        number = max(size for size in NUMBERS if size <= number)
        chosen = tuple(random.sample(files, number))
        canvas = draw_canvas(chosen, random) if number > 1 else None
        versions = tuple(image_version(file) for file in chosen)
        drawn.append(BoxedCanvas(canvas, chosen, versions, tuple(_draw_box(random) for _ in range(boxes))))
    return drawn


@dataclass(frozen=True)
class RegionExamples:
    """K boxes in each of n canvases.

    Attributes:
        rows: (n, K, F) float16: the pooled levels, flat, then the vector of the crop.
        channels: of each level.
        pooled: values a side that RoIAlign gives.
        boxes: (n, K, 4) float32, in shares of the sides.
        description: what they were made of, for the metadata of a run.
    """

    rows: Tensor
    channels: tuple[int, ...]
    pooled: int
    boxes: Tensor
    description: str

    def levels(self, rows: Tensor) -> list[Tensor]:
        """Rows (N, F) ──► the pooled levels, (N, C, pooled, pooled) float32 each."""
        sizes = [channels * self.pooled**2 for channels in self.channels]
        parts = rows[:, : sum(sizes)].float().split(sizes, dim=1)
        return [part.unflatten(1, (-1, self.pooled, self.pooled)) for part in parts]

    def targets(self, rows: Tensor) -> Tensor:
        """Rows (N, F) ──► the vectors of the crops (N, D) float32."""
        return rows[:, sum(self.channels) * self.pooled**2 :].float()


def region_examples(
    encoder: JointEncoder,
    drawn: Sequence[BoxedCanvas],
    levels: int,
    pooled: int,
    progress: Progress = silent,
) -> RegionExamples:
    """Encode canvases and crops, kept in the user's cache.

    Args:
        encoder: frozen.
        drawn: canvases with boxes.
        levels: feature maps that are read.
        pooled: values a side that RoIAlign gives.
        progress: called after every shard.

    Raises:
        V2LError: no photograph is readable, or the encoder has no features of patches.
    """
    shards = Shards(cache_home() / "regions", "encoding regions", progress, SHARD)
    channels = [level.shape[1] for level in read_levels(encoder, torch.zeros(3, 8, 8), levels)]
    settings = [encoder.fingerprint, str(levels), str(pooled), str(SIDES)]
    width = sum(channels) * pooled**2 + encoder.dim

    def encode(part: list[BoxedCanvas]) -> Tensor:
        return torch.stack([_encode(encoder, each, levels, pooled, width) for each in part])

    parts = shards.run(drawn, settings, encode)
    readable = [is_readable(part.flatten(1)) for part in parts]
    good = torch.cat(readable)
    if not good.any():
        raise V2LError(f"none of {len(drawn)} canvases has readable images only", "photographs")
    used = [each for each, whole in zip(drawn, good.tolist(), strict=True) if whole]
    files = sorted({file for each in used for file in each.files}, key=str)
    return RegionExamples(
        on_disk(
            (part[whole] for part, whole in zip(parts, readable, strict=True)), shards.folder, torch.float16
        ),
        tuple(channels),
        pooled,
        torch.tensor([each.boxes for each in used]),
        f"{len(used):,} canvases of {len(files):,} images with fingerprint {files_fingerprint(files)}",
    )


def _encode(encoder: JointEncoder, drawn: BoxedCanvas, levels: int, pooled: int, width: int) -> Tensor:
    """(K, F) float16, NaN if a file is not a readable image."""
    try:
        image = drawn.picture()
    except V2LError:
        return torch.full((len(drawn.boxes), width), torch.nan, dtype=torch.float16)
    maps = read_levels(encoder, image, levels)
    seen = [align(level, torch.tensor(drawn.boxes), pooled) for level in maps]
    crops = encode_boxes(encoder, image, drawn.boxes)
    return torch.cat([*(each.flatten(1) for each in seen), crops], dim=1).half().cpu()


def _draw_box(random: Random) -> Box:
    """A box whose sides are uniform in their logarithms."""
    width, height = (exp(random.uniform(log(SMALLEST), 0)) for _ in range(2))
    left, top = random.uniform(0, 1 - width), random.uniform(0, 1 - height)
    return left, top, left + width, top + height
