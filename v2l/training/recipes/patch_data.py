"""image files + joint encoder ──► frozen patch features, computed once, and batches of them.

Which images a step sees is a function of seed and step alone. Resuming is exact because of that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from v2l.encoders import JointEncoder
from v2l.encoders.image_features import readable_rows
from v2l.images import image_if_readable, resize_and_crop
from v2l.mapped import PickedRows
from v2l.progress import Progress, silent
from v2l.shards import Shards
from v2l.sources import ImageFile, image_version
from v2l.training.data import files_fingerprint, shuffled_places
from v2l.zoo import cache_home

SHARD, BATCH = 64, 4  # images in one file of the cache, and in one forward pass


@dataclass(frozen=True)
class PatchFeatures:
    """The frozen features of the patches of n images.

    Attributes:
        rows: (n, h, w, C) float16, memory-mapped.
        description: how many images, and their fingerprint; for the metadata of a run.
        files: the n images.
    """

    rows: PickedRows
    description: str
    files: tuple[ImageFile, ...]

    def only(self, chosen: Tensor) -> PatchFeatures:
        """Some of the images, (n,) bool, under the description of all."""
        files = [file for file, kept in zip(self.files, chosen.tolist(), strict=True) if kept]
        return PatchFeatures(self.rows.pick(chosen), self.description, tuple(files))

    def batches(self, size: int, seed: int, first: int, last: int) -> Iterator[Tensor]:
        """(size, h, w, C) float32 for each step; each epoch is shuffled by the seed."""
        for step in range(first, last):
            yield self.rows[shuffled_places(len(self.rows), size, seed, step)].float()


def patch_features(
    encoder: JointEncoder, files: Sequence[ImageFile], side: int, progress: Progress = silent
) -> PatchFeatures:
    """The features of the centre square of each readable image, kept in the user's cache.

    Args:
        encoder: frozen.
        files: images.
        side: pixels of the square.
        progress: called after every shard.

    Raises:
        V2LError: no image is readable, or the encoder has no features of patches.
    """
    shards = Shards(cache_home() / "patches", "encoding patches", progress, SHARD)
    versions = [(file, image_version(file)) for file in files]
    parts = shards.run(
        versions,
        [encoder.fingerprint, str(side)],
        lambda part: encode_squares(encoder, [file for file, _ in part], side),
    )
    rows, unreadable = readable_rows(files, parts, shards.folder)
    bad = set(unreadable)
    used = tuple(file for file in files if file not in bad)
    description = f"{len(used):,} images with fingerprint {files_fingerprint(used)}"
    return PatchFeatures(PickedRows.all_of(rows), description, used)


def encode_squares(encoder: JointEncoder, files: Sequence[ImageFile], side: int) -> Tensor:
    """(n, h, w, C) float16, NaN where a file is not a readable image; (n, 1, 1, 1) if none is."""
    read = ((file, image_if_readable(file)) for file in files)
    squares = {file: resize_and_crop(image, side) for file, image in read if image is not None}
    found: dict[ImageFile, Tensor] = {}
    places = list(squares)
    for start in range(0, len(places), BATCH):
        batch = places[start : start + BATCH]
        features = encoder.patch_features(torch.stack([squares[file] for file in batch]), side)
        found |= dict(zip(batch, features.half().cpu(), strict=True))
    shape = next(iter(found.values())).shape if found else (1, 1, 1)
    blank = torch.full(shape, torch.nan, dtype=torch.float16)
    return torch.stack([found.get(file, blank) for file in files])
