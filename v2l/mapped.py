"""tensors that do not fit into memory together ──► one memory-mapped tensor on the disk, and rows of it."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import torch
from torch import Tensor

from v2l.files import report_disk


def on_disk(parts: Iterable[Tensor], folder: Path, dtype: torch.dtype) -> Tensor:
    """Concatenate tensors along their first dimension into one memory-mapped tensor.

    Only one part is in memory at a time. The file has no name. The system therefore deletes it together with
    the tensor, or when the process ends.

    Args:
        parts: tensors (n_i, …); all dimensions except the first are equal.
        folder: a folder on a disk with space for the result.
        dtype: dtype of the result.

    Returns:
        (Σ n_i, …) of dtype `dtype`.

    Raises:
        V2LError: the disk is full.
    """
    shape: tuple[int, ...] = ()
    with report_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
    with file:
        for part in parts:
            shape = part.shape[1:]
            with report_disk(folder):
                _append(file, part.to(dtype))
        if not file.tell():
            return torch.empty(0, *shape, dtype=dtype)
        # ACCESS_COPY: writing to the tensor changes memory only, never the file.
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return torch.frombuffer(memory, dtype=dtype).view(-1, *shape)


def _append(file: FileIO, part: Tensor) -> None:
    """Write a tensor's bytes to an unbuffered file, which may take only some of them at once."""
    left = part.flatten().view(torch.uint8).numpy().data  # bytes, because NumPy has no bfloat16
    while left:
        left = left[file.write(left) :]


@dataclass(frozen=True)
class PickedRows:
    """Some rows of a tensor that may be larger than the memory; only rows that are read are copied.

    Attributes:
        tensor: (N, …), memory-mapped perhaps.
        places: (n,) int64, the rows of the tensor.
    """

    tensor: Tensor
    places: Tensor

    @classmethod
    def all_of(cls, tensor: Tensor) -> PickedRows:
        """Every row."""
        return cls(tensor, torch.arange(len(tensor)))

    def pick(self, chosen: Tensor) -> PickedRows:
        """Some of these rows: (n,) bool, or their numbers, int64."""
        return PickedRows(self.tensor, self.places[chosen])

    def parts(self, size: int, every: int = 1) -> Iterator[Tensor]:
        """Every so many-th row, at most `size` of them at once: (size, …)."""
        for places in self.places[::every].split(size):
            yield self.tensor[places]

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, …)."""
        return len(self), *self.tensor.shape[1:]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, rows: Tensor | Sequence[int] | slice) -> Tensor:
        """A copy of some of these rows, by their numbers from 0 to n - 1."""
        return self.tensor[self.places[rows]]
