"""image files ──► batches of crops, the same ones whenever a step is repeated.

Which images a step sees, and how they are cropped, is a function of seed and step alone. Resuming is exact
because of that.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from v2l.config import Config
from v2l.datasets import CropSettings, ImageDataset
from v2l.processes import Accelerator
from v2l.sources import ImageFile, image_size

SEED_STRIDE = 1_000_003  # a prime: seeds of different runs do not meet within a million epochs
RESIZE_RANGE = (0.875, 1.25)  # of the model's image size: the shorter side before a random crop


@dataclass(frozen=True)
class Batch:
    """Images that are seen at once.

    Attributes:
        images: (B, 3, S, S) float32 in [0, 1].
        global_ids: (B, G) int64 global words of each image; G is 0 if the data has none.
    """

    images: Tensor
    global_ids: Tensor

    def split(self, parts: int) -> list[Batch]:
        """The same images in `parts` parts of equal size; the last may be smaller."""
        size = -(-len(self.images) // parts)
        pairs = zip(torch.split(self.images, size), torch.split(self.global_ids, size), strict=True)
        return [Batch(images, global_ids) for images, global_ids in pairs]


class TrainingImages(Dataset[tuple[Tensor, Tensor]]):
    """Readable image files, each with its global words if they are needed.

    Args:
        paths: n files, all readable.
        settings: how crops are taken.
        global_ids: (n, G) int64, or None.
    """

    def __init__(
        self, paths: Sequence[ImageFile], settings: CropSettings, global_ids: Tensor | None = None
    ) -> None:
        self.images = ImageDataset(paths, settings)
        self.global_ids = torch.zeros(len(paths), 0, dtype=torch.int64) if global_ids is None else global_ids

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """(epoch, index) ──► crop (3, S, S) in [0, 1] and global ids (G,)."""
        epoch, index = place
        return self.images.crop(epoch, index), self.global_ids[index]

    def first(self, count: int) -> Batch:
        """The first images, cropped as in the first epoch: the same ones every time."""
        pairs = [self[0, index] for index in range(min(count, len(self)))]
        images = torch.stack([image for image, _ in pairs])
        return Batch(images, torch.stack([global_ids for _, global_ids in pairs]))

    @property
    def description(self) -> str:
        """How many images, and their fingerprint; for the metadata of a run."""
        return f"{len(self):,} images with fingerprint {self.fingerprint}"

    @property
    def fingerprint(self) -> str:
        """As `files_fingerprint`."""
        return files_fingerprint(self.images.paths)


@dataclass(frozen=True)
class ImageBatches:
    """The batches of one process in every step.

    Attributes:
        images: what is trained on.
        batch_size: images in a step and a process, all parts together.
        seed: of the shuffling.
        process: number of this process.
        processes: how many processes train together.
        workers: processes that read images; 0 reads in the training process.
    """

    images: TrainingImages
    batch_size: int
    seed: int = 0
    process: int = 0
    processes: int = 1
    workers: int = 0

    @classmethod
    def of(
        cls, images: TrainingImages, batch_size: int, seed: int, world: Accelerator, workers: int = 0
    ) -> Self:
        """The batches of this one of the processes that train together."""
        return cls(images, batch_size, seed, world.process_index, world.num_processes, workers)

    def between(self, first: int, last: int) -> Iterator[Batch]:
        """The batches of the steps `first` to `last` − 1.

        They do not depend on the number of workers.
        """
        sampler = BatchOrder(self, first, last)
        loader = DataLoader(
            self.images,
            batch_sampler=sampler,
            num_workers=self.workers,
            worker_init_fn=_leave_signals_to_parent,
        )
        for crops, global_ids in loader:
            yield Batch(crops, global_ids)


@dataclass(frozen=True)
class BatchOrder:
    """Which images each step sees, as a batch sampler of a DataLoader that can start at any step.

    Attributes:
        batches: sizes, seed and processes.
        first: the step to start with.
        last: the step to end before.
    """

    batches: ImageBatches
    first: int
    last: int

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        size = self.batches.batch_size
        for step in range(self.first, self.last):
            # The processes share out one endless sequence of images: each takes `size` of them in turn.
            start = (step * self.batches.processes + self.batches.process) * size
            yield [self._place(position) for position in range(start, start + size)]

    def __len__(self) -> int:
        return self.last - self.first

    def _place(self, position: int) -> tuple[int, int]:
        """Position in an endless sequence of shuffled epochs ──► (epoch, index)."""
        epoch, offset = divmod(position, len(self.batches.images))
        return epoch, int(_permutation(len(self.batches.images), self.batches.seed, epoch)[offset])


@lru_cache(maxsize=2)  # a batch may span two epochs
def epoch_order(size: int, seed: int, epoch: int) -> tuple[int, ...]:
    """The numbers of `size` examples in the order of one epoch, a function of the seed."""
    return tuple(Random(seed * SEED_STRIDE + epoch).sample(range(size), size))


def shuffled_places(count: int, size: int, seed: int, step: int) -> Tensor:
    """Which of `count` images a step sees, (size,) int64; each epoch is shuffled by the seed.

    Images that are left at the end of an epoch are not seen in it. A batch of more images than there are
    takes several epochs.
    """
    epoch, batch = divmod(step, max(1, count // size))
    epochs = -(-size // count)
    orders = [_permutation(count, seed, epoch * epochs + number) for number in range(epochs)]
    return torch.cat(orders)[batch * size : (batch + 1) * size]


def files_fingerprint(files: Sequence[ImageFile]) -> str:
    """A hash of the files' names and sizes: notices a data set that has changed between two runs."""
    lines = "\n".join(f"{file.name} {image_size(file)}" for file in files)
    # surrogateescape: a file name may hold bytes that are no UTF-8
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()[:16]


def crop_settings(config: Config, seed: int) -> CropSettings:
    """How a config's crops are taken."""
    size, whole = config.training.crop_size, config.model.image_size
    shorter = (max(size, round(RESIZE_RANGE[0] * whole)), max(size, round(RESIZE_RANGE[1] * whole)))
    return CropSettings(size, shorter, config.training.random_crop, seed, config.model.resize == "two-step")


@lru_cache(maxsize=2)  # a batch may span two epochs
def _permutation(size: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed * SEED_STRIDE + epoch))


def _leave_signals_to_parent(worker: int) -> None:
    """A worker ends when its parent does: Ctrl-C reaches them all, and the parent answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
