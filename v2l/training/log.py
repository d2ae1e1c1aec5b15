"""loss terms and pages of pictures ──► log.csv, TensorBoard's files, and PNG files, in the folder of a run."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from v2l.images import image_grid, save_image
from v2l.tokenizers.grid.encoder import to_image_range, to_network_range
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.training.data import Batch

COLUMNS = ["step", "term", "value"]


class RunLog:
    """The log of a run, to be used in a `with` block.

    Args:
        run: the run's folder.
        first: the step that the run goes on from; what an earlier process logged behind it is forgotten.

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
        """Log the terms of the step that was made last; `step` steps are done."""
        with self._path.open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([step, name, f"{value:.6g}"] for name, value in terms.items())
        for name, value in terms.items():
            self._board.add_scalar(name, value, step)

    def picture(self, step: int, page: Tensor) -> None:
        """Keep a page (3, H, W) in [0, 1] as pictures/step-….png and in TensorBoard."""
        save_image(page, self.run / "pictures" / f"step-{step:09d}.png")
        self._board.add_image("reconstructions", page, step)

    def _trim(self, first: int) -> None:
        """Keep the whole lines up to a step, so that steps done twice stand there once."""
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


@torch.no_grad()
def reconstruction_page(tokenizer: V2LTokenizer, batch: Batch, noise: float | None) -> Tensor:
    """Originals above their reconstructions: (3, H, W) float32 in [0, 1].

    Args:
        tokenizer: as it is; its training mode is put back.
        batch: images in [0, 1] and their global words.
        noise: None quantizes; 0 leaves the quantizer out.
    """
    mode = tokenizer.training
    painted = tokenizer.eval()(
        to_network_range(batch.images.to(tokenizer.device)), batch.global_ids.to(tokenizer.device), noise
    )
    tokenizer.train(mode)
    rows = [list(batch.images), list(to_image_range(painted.images).cpu())]
    return image_grid(rows, [[""] * len(batch.images)] * 2, cell=batch.images.shape[-1])
