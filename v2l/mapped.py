"""parts ──► one tensor that lies on the disk: what is too many for memory, as if it were in it."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from v2l.files import report_disk


def on_disk(parts: Iterable[Tensor], folder: Path, dtype: torch.dtype) -> Tensor:
    """Join parts into one memory-mapped tensor, with one of them in memory at a time.

    Its file has no name: it is gone with the tensor, or with the process.

    Args:
        parts: tensors that differ in their first dimension only.
        folder: on a disk with room for all of them.
        dtype: of the result.

    Raises:
        V2LError: the disk is full.
    """
    shape: tuple[int, ...] = ()
    with report_disk(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with report_disk(folder), tempfile.TemporaryFile(dir=folder) as file:
        for part in parts:
            shape = part.shape[1:]
            file.write(part.to(dtype).contiguous().view(torch.uint8).numpy())
        file.flush()
        if not file.tell():
            return torch.empty(0, *shape, dtype=dtype)
        memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    return torch.frombuffer(memory, dtype=dtype).view(-1, *shape)
