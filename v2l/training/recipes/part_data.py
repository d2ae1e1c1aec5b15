"""captioned images ──► the patch features of the overview and the slices of each: what `uhd` is trained on.

Photographs of different sizes have different numbers of parts, so sizes are measured first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from v2l.captions import CaptionedImage
from v2l.encoders import JointEncoder
from v2l.encoders.image_features import is_readable, unreadable_files
from v2l.errors import V2LError
from v2l.images import image_if_readable, load_image
from v2l.mapped import on_disk
from v2l.progress import Progress, silent
from v2l.shards import Shards
from v2l.sources import ImageFile, image_version
from v2l.tokenizers.adapters.sliced import part_features
from v2l.tokenizers.slice_grid import SliceGrid, choose_grid, slice_boxes
from v2l.training.recipes.adapter_data import CaptionedFeatures, ImageFeatures
from v2l.zoo import cache_home

SHARD = 32  # images in one file


@dataclass(frozen=True)
class CaptionedParts(CaptionedFeatures):
    """Captioned images that are read in parts; `features` are (Σ P, h, w, C), the parts of all images.

    Attributes:
        starts: the row of each image's overview.
        grids: how each image is cut.
    """

    starts: tuple[int, ...] = ()
    grids: tuple[SliceGrid | None, ...] = ()

    def read(self, place: int) -> ImageFeatures:
        """The parts of one image."""
        start, grid = self.starts[place], self.grids[place]
        values = self.features[start : start + parts_of(grid)].float()
        return ImageFeatures(values, grid.columns if grid else 0)

    def views(self, places: Sequence[int]) -> tuple[Tensor, list[int]]:
        """The parts of some images, (M, h, w, C), and the place of each part's image."""
        owners = [place for place in places for _ in range(parts_of(self.grids[place]))]
        return torch.cat([self.read(place).values for place in places]), owners


def parts_of(grid: SliceGrid | None) -> int:
    """P, the overview and the slices."""
    return len(slice_boxes(grid))


def read_parts(
    encoder: JointEncoder, images: Sequence[CaptionedImage], progress: Progress = silent
) -> CaptionedParts:
    """Encode the patches of all parts of all images, or find them in the user's cache.

    Raises:
        V2LError: no image is readable, the encoder gives NaN or infinity, or the disk is full.
    """
    if not images:
        raise V2LError("got no images", "at least one image with a caption or a class")
    folder, files = cache_home() / "patches", [image.file for image in images]
    versions = [(file, image_version(file)) for file in files]
    sizes = Shards(folder, "measuring images", progress).run(versions, [], _sizes)
    unreadable = unreadable_files(files, sizes)
    bad = set(unreadable)
    rows = torch.cat(sizes)
    grids = [
        choose_grid(int(width), int(height), encoder.image_size)
        for height, width in rows[is_readable(rows)].tolist()
    ]
    readable = tuple(image for image in images if image.file not in bad)
    items = [
        (image.file, image_version(image.file), grid) for image, grid in zip(readable, grids, strict=True)
    ]
    shards = Shards(folder, "encoding slices", progress, SHARD)
    parts = shards.run(items, [encoder.fingerprint], lambda some: _encode(encoder, some))
    counts = [parts_of(grid) for grid in grids]
    return CaptionedParts(
        readable,
        on_disk(parts, folder, torch.float16),
        tuple(unreadable),
        starts=tuple(accumulate(counts, initial=0))[:-1],
        grids=tuple(grids),
    )


def _sizes(versions: Sequence[tuple[ImageFile, object]]) -> Tensor:
    """(n, 2) float32 height and width; NaN where a file is not a readable image."""
    rows = torch.full((len(versions), 2), torch.nan)
    for place, (file, _) in enumerate(versions):
        image = image_if_readable(file)
        if image is not None:
            rows[place] = torch.tensor(image.shape[-2:], dtype=torch.float32)
    return rows


def _encode(encoder: JointEncoder, items: Sequence[tuple[ImageFile, object, SliceGrid | None]]) -> Tensor:
    """(Σ P, h, w, C) float16 of the parts of some images: file, version and grid of each."""
    rows = [part_features(encoder, load_image(file), slice_boxes(grid)).cpu() for file, _, grid in items]
    features = torch.cat(rows)
    if not features.isfinite().all():
        raise V2LError(
            f"the encoder {encoder.name} gives NaN or infinity for parts of {items[0][0]} or one after it",
            "finite numbers",
            "v2l doctor",
        )
    return features.half()
