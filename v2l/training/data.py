"""image files ──► batches of crops with their global words, the same ones whenever a step is repeated.

Which images a step sees, and how they are cropped, is a function of seed and step alone: that is what makes resuming exact.
"""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from v2l.datasets import CropSettings, ImageDataset
from v2l.sources import ImageFile, image_size


@dataclass(frozen=True)
class Batch:
    """One process's share of a step.

    Attributes:
        images: (B, 3, S, S) float32 in [0, 1].
        global_ids: (B, G) int64.
    """

    images: Tensor
    global_ids: Tensor


class TrainingImages(Dataset[tuple[Tensor, Tensor]]):
    """Readable image files with the global words of each.

    Args:
        paths: n files, all readable.
        global_ids: (n, G) int64.
        settings: how crops are taken.
    """

    def __init__(self, paths: Sequence[ImageFile], global_ids: Tensor, settings: CropSettings) -> None:
        self.images, self.global_ids = ImageDataset(paths, settings), global_ids

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, place: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """(epoch, index) ──► crop (3, S, S) in [0, 1] and global ids (G,)."""
        epoch, index = place
        return self.images.crop(epoch, index), self.global_ids[index]

    @property
    def description(self) -> str:
        """How many images, and a hash of their files' names and sizes: notices a data set that has changed between two runs."""
        return f"{len(self):,} images with fingerprint {self.fingerprint}"

    @property
    def fingerprint(self) -> str:
        """A hash of the files' names and sizes."""
        facts = "\n".join(f"{file.name} {image_size(file)}" for file in self.images.paths)
        return hashlib.sha256(facts.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Order:
    """Which images a step sees, as a batch sampler that can begin at any step.

    Attributes:
        size: n images.
        batch_size: images a step and a process, all of its parts together.
        rank: this process.
        processes: how many there are.
        seed: of the shuffling.
        first: the step to begin with.
        last: the step to end before.
    """

    size: int
    batch_size: int
    rank: int
    processes: int
    seed: int
    first: int
    last: int

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in range(self.first, self.last):
            begin = (step * self.processes + self.rank) * self.batch_size
            yield [self._place(position) for position in range(begin, begin + self.batch_size)]

    def __len__(self) -> int:
        return self.last - self.first

    def _place(self, position: int) -> tuple[int, int]:
        """Position in an endless sequence of shuffled epochs ──► (epoch, index)."""
        epoch, offset = divmod(position, self.size)
        return epoch, int(_permutation(self.size, self.seed, epoch)[offset])


@lru_cache(maxsize=2)  # a batch may span two epochs
def _permutation(size: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def batches(images: TrainingImages, order: Order, workers: int) -> Iterator[Batch]:
    """The batches of one process, in order, the same ones with any number of worker processes."""
    for crops, global_ids in DataLoader(
        images, batch_sampler=order, num_workers=workers, worker_init_fn=_leave_signals
    ):
        yield Batch(crops, global_ids)


def _leave_signals(worker: int) -> None:
    """A worker ends when its parent does: Ctrl-C, which reaches them all, is the parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
