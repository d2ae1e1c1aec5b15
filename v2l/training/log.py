"""figures and pictures of a run ──► log.csv, TensorBoard's files, and PNG files, in the folder of the run."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from v2l.images import save_image

COLUMNS = ["step", "term", "value"]


class RunLog:
    """The log of a run, to be used in a `with` block.

    Args:
        run: the folder of the run.
        first: the step that the run goes on from; lines of later steps, from an interrupted process, are
            removed.

    Raises:
        OSError: the disk is full or cannot be written.
    """

    def __init__(self, run: Path, first: int) -> None:
        self.run, self._path = run, run / "log.csv"
        run.mkdir(parents=True, exist_ok=True)
        self._trim(first)
        self._board = SummaryWriter(run / "tensorboard", purge_step=first + 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._board.close()

    def write(self, step: int, terms: Mapping[str, float]) -> None:
        """Log figures after `step` steps."""
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([step, name, f"{value:.6g}"] for name, value in terms.items())
        for name, value in terms.items():
            self._board.add_scalar(name, value, step)

    def picture(self, step: int, page: Tensor) -> None:
        """Save a page (3, H, W) in [0, 1] as pictures/step-….png and in TensorBoard."""
        save_image(page, self.run / "pictures" / f"step-{step:09d}.png")
        self._board.add_image("reconstructions", page, step)

    def _trim(self, first: int) -> None:
        """Keep the whole lines up to a step, so that a step that is made twice is logged once."""
        rows = []
        if self._path.exists():
            with self._path.open(newline="", encoding="utf-8") as file:
                rows = [
                    row
                    for row in list(csv.reader(file))[1:]
                    if len(row) == len(COLUMNS) and int(row[0]) <= first
                ]
        with self._path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
