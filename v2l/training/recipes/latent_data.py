"""image files + the frozen grid tokenizer ──► its features of each image, computed once, and batches of them.

Which images a step sees is a function of seed and step alone. Resuming is exact because of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from v2l.encoders.image_features import readable_rows
from v2l.errors import V2LError
from v2l.images import image_if_readable, resize
from v2l.mapped import PickedRows
from v2l.progress import Progress, silent
from v2l.shards import Shards
from v2l.sources import ImageFile, image_version
from v2l.tokenizers.cnn.autoencoder import GridAutoencoder
from v2l.tokenizers.cnn.encoder import to_network_range
from v2l.training.data import files_fingerprint, shuffled_places
from v2l.zoo import cache_home

SHARD = 64  # images in one file of the cache, and in one forward pass


@dataclass(frozen=True)
class GridFeatures:
    """The frozen features of n images, which are resized to a square.

    Attributes:
        rows: (n, d, h, w) float16, memory-mapped.
        files: the n images.
        side: pixels of the square.
    """

    rows: PickedRows
    files: tuple[ImageFile, ...]
    side: int

    @property
    def description(self) -> str:
        """How many images, and their fingerprint; for the metadata of a run."""
        return f"{len(self.files):,} images with fingerprint {files_fingerprint(self.files)}"

    def places(self, size: int, seed: int, step: int) -> Tensor:
        """(size,) int64, the images of a step; each epoch is shuffled by the seed."""
        return shuffled_places(len(self.files), size, seed, step)

    def split(self, every: int, most: int) -> tuple[GridFeatures, GridFeatures]:
        """Images to train on, and every `every`-th image, at most `most` of them, to validate on.

        Raises:
            V2LError: there are fewer than `every` images.
        """
        if len(self.files) < every:
            raise V2LError(f"got {len(self.files)} readable images", f"at least {every}")
        held = list(range(every - 1, len(self.files), every))
        kept = sorted(set(range(len(self.files))) - set(held))
        return self._select(kept), self._select(held[:: max(1, len(held) // most)][:most])

    def _select(self, places: list[int]) -> GridFeatures:
        files = tuple(self.files[place] for place in places)
        return GridFeatures(self.rows.pick(torch.tensor(places)), files, self.side)

    def pixels(self, places: Tensor) -> Tensor:
        """(B, 3, side, side) in [0, 1] of some images, read from their files.

        Raises:
            V2LError: a file has become unreadable.
        """
        files = [self.files[place] for place in places.tolist()]
        images, readable = squares(files, self.side)
        if lost := sorted(set(range(len(files))) - set(readable)):
            raise V2LError(f"{files[lost[0]]} cannot be read any more", "the images as the run began")
        return images


def squares(files: Sequence[ImageFile], side: int) -> tuple[Tensor, list[int]]:
    """Whole images (n, 3, side, side) in [0, 1] of the readable files, and the places of these files."""
    read = ((file, image_if_readable(file)) for file in files)
    found = {file: resize(image, (side, side)) for file, image in read if image is not None}
    places = [place for place, file in enumerate(files) if file in found]
    empty = torch.empty(0, 3, side, side)
    return (torch.stack([found[files[place]] for place in places]) if places else empty), places


def grid_features(
    grid: GridAutoencoder, files: Sequence[ImageFile], side: int, progress: Progress = silent
) -> GridFeatures:
    """The features before the lookup of each readable image, kept in the user's cache.

    Args:
        grid: frozen.
        files: images.
        side: pixels of the square.
        progress: called after every shard.

    Raises:
        V2LError: no image is readable.
    """
    shards = Shards(cache_home() / "latents", "grid features", progress, SHARD)
    versions = [(file, image_version(file)) for file in files]
    parts = shards.run(
        versions,
        [grid.fingerprint, str(side)],
        lambda part: features_of_files(grid, [file for file, _ in part], side),
    )
    rows, unreadable = readable_rows(files, parts, shards.folder)
    bad = set(unreadable)
    used = tuple(file for file in files if file not in bad)
    return GridFeatures(PickedRows.all_of(rows), used, side)


@torch.inference_mode()
def features_of_files(grid: GridAutoencoder, files: Sequence[ImageFile], side: int) -> Tensor:
    """(n, d, h, w) float16, NaN where a file is not a readable image."""
    cells, width = side // grid.factor, grid.network.lookup_dim
    rows = torch.full((len(files), width, cells, cells), torch.nan, dtype=torch.float16)
    images, places = squares(files, side)
    if places:
        rows[places] = grid.features(to_network_range(images.to(grid.device))).half().cpu()
    return rows
