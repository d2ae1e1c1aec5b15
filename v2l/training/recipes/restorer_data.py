"""photographs + grid tokenizer ──► features of clean and corrupted grids, computed once, and batches of them.

A photograph is masked or corrupted before the tokenizer sees it. Features of a shifted or turned one are
moved back to their places by whole cells, as restoration does; what is left is to be learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from v2l.corruptions import Corruption, Rotation, Shift, draw_corruption
from v2l.encoders.base import fingerprint_of
from v2l.encoders.image_features import readable_rows
from v2l.images import image_if_readable
from v2l.progress import Progress, silent
from v2l.shards import Shards
from v2l.sources import ImageFile, image_version
from v2l.tasks.restoration.grid_features import grid_features
from v2l.tasks.restoration.inpaint import MID_GREY
from v2l.tasks.restoration.restorer import TASKS
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.training.data import SEED_STRIDE, epoch_order, files_fingerprint
from v2l.training.recipes.lora_examples import masked_cells
from v2l.zoo import cache_home

VARIANTS = len(TASKS)  # corrupted versions of a photograph, one for each task
SHARD = 64  # photographs in one file of the cache
WATCHED, WATCHED_SHARE = 48, 10  # photographs that only watch the training: at most, and one of so many


class Batch(NamedTuple):
    """Examples of restoration."""

    seen: Tensor  # (B, h, w, d) float32: features of the corrupted photographs
    masked: Tensor  # (B, h, w) bool
    clean: Tensor  # (B, h, w, d) float32
    task: Tensor  # (B,) int64

    @property
    def predicted(self) -> Tensor:
        """(B, h, w) bool: the cells to predict, which are the masked ones, or all where none is masked."""
        return self.masked | ~self.masked.flatten(1).any(dim=1)[:, None, None]


@dataclass(frozen=True)
class RestorationFeatures:
    """Features of n photographs, clean and corrupted.

    Attributes:
        rows: (n, 1 + VARIANTS, h, w, d + 1) float16, memory-mapped: the clean grid, then one corrupted grid
            for each task; the last channel is 1 where a cell is masked.
        files: the photographs.
        unreadable: files that were left out.
    """

    rows: Tensor
    files: tuple[ImageFile, ...]
    unreadable: tuple[ImageFile, ...] = ()

    @property
    def fingerprint(self) -> str:
        """How many photographs, and a hash of them."""
        return f"{len(self.files):,} with fingerprint {files_fingerprint(self.files)}"

    def batch(self, photographs: Sequence[int], tasks: Sequence[int]) -> Batch:
        """One example of each photograph, for the task beside it."""
        rows, task = list(photographs), torch.tensor(tasks)
        corrupted = self.rows[rows, 1 + task].float()
        return Batch(corrupted[..., :-1], corrupted[..., -1] > 0, self.rows[rows, 0, ..., :-1].float(), task)


@dataclass(frozen=True)
class RestorationBatches:
    """An endless sequence of examples, a function of the seed; each photograph comes once in an epoch.

    Attributes:
        data: features.
        places: numbers of the photographs that are used.
        seed: of their order.
    """

    data: RestorationFeatures
    places: tuple[int, ...]
    seed: int = 0

    def batch(self, first: int, size: int) -> Batch:
        """Examples `first` to `first + size`; the tasks take turns."""
        chosen = [self.example(number) for number in range(first, first + size)]
        return self.data.batch([place for place, _ in chosen], [task for _, task in chosen])

    def example(self, number: int) -> tuple[int, int]:
        """Photograph and task of one example."""
        epoch, offset = divmod(number, len(self.places))
        order = epoch_order(len(self.places), self.seed, epoch)
        return self.places[order[offset]], number % VARIANTS


def split_photographs(data: RestorationFeatures, seed: int) -> tuple[RestorationBatches, RestorationBatches]:
    """Photographs to train on, and others that only watch; a single photograph is both."""
    count = min(WATCHED, len(data.files) // WATCHED_SHARE)
    order = Random(f"{seed}/watched").sample(range(len(data.files)), len(data.files))
    watched, trained = tuple(order[:count]), tuple(sorted(order[count:]))
    return RestorationBatches(data, trained, seed), RestorationBatches(data, watched or trained, seed)


def restoration_features(
    tokenizer: V2LTokenizer, files: Sequence[ImageFile], seed: int, progress: Progress = silent
) -> RestorationFeatures:
    """Encode all photographs clean and corrupted, or find them in the user's cache.

    Raises:
        V2LError: no photograph is readable, or the disk is full.
    """
    shards = Shards(cache_home() / "restoration", "encoding photographs", progress, SHARD)
    items = [(file, image_version(file), number) for number, file in enumerate(files)]
    metadata = [fingerprint_of(tokenizer.encoder.state_dict()), tokenizer.code_fingerprint, str(seed)]
    parts = shards.run(items, metadata, lambda part: encode_photographs(tokenizer, part, seed))
    rows, unreadable = readable_rows(files, parts, shards.folder)
    bad = set(unreadable)
    return RestorationFeatures(rows, tuple(file for file in files if file not in bad), tuple(unreadable))


def encode_photographs(
    tokenizer: V2LTokenizer, items: Sequence[tuple[ImageFile, object, int]], seed: int
) -> Tensor:
    """(n, 1 + VARIANTS, h, w, d + 1) float16; NaN keeps the place of a file that is no readable image."""
    size, cells = tokenizer.config.model.image_size, tokenizer.config.model.image_size // tokenizer.factor
    shape = (1 + VARIANTS, cells, cells, tokenizer.config.model.lookup_dim + 1)
    rows = torch.full((len(items), *shape), torch.nan, dtype=torch.float16)
    for place, (file, _, number) in enumerate(items):
        image = image_if_readable(file)
        if image is None:
            continue
        clean = tokenizer.square(image[None], size)[0]
        rows[place] = encode_photograph(tokenizer, clean, seed * SEED_STRIDE + number).half()
    return rows


def encode_photograph(tokenizer: V2LTokenizer, clean: Tensor, seed: int) -> Tensor:
    """A square photograph (3, S, S), clean and corrupted for each task: (1 + VARIANTS, h, w, d + 1)."""
    generator = torch.Generator().manual_seed(seed)
    cells = clean.shape[-1] // tokenizer.factor
    mask = masked_cells((cells, cells), generator)
    pixels = mask.repeat_interleave(tokenizer.factor, 0).repeat_interleave(tokenizer.factor, 1)
    corruptions = [draw_corruption(task, generator) for task in TASKS[1:]]
    versions = [clean, torch.where(pixels, MID_GREY, clean), *(one.apply(clean) for one in corruptions)]
    features = grid_features(tokenizer, torch.stack(versions))  # (1 + VARIANTS, h, w, d)
    for place, corruption in enumerate(corruptions, start=2):
        features[place] = moved_back(features[place], corruption)
    flags = torch.zeros(*features.shape[:-1], 1)
    flags[1, ..., 0] = mask.float()
    return torch.cat([features, flags], dim=-1)


def moved_back(cells: Tensor, corruption: Corruption) -> Tensor:
    """Features (h, w, d) of a corrupted photograph, moved to their places by whole cells."""
    if isinstance(corruption, Shift):
        down, right = round(corruption.down * cells.shape[0]), round(corruption.right * cells.shape[1])
        return cells.roll((-down, -right), dims=(0, 1))
    return cells.rot90(-corruption.quarters, dims=(0, 1)) if isinstance(corruption, Rotation) else cells
