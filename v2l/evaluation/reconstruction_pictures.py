"""photographs ──► a page of pictures: each original beside what every contestant makes of it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from v2l.evaluation.reconstruction import Reconstruction
from v2l.images import Skipped, image_grid
from v2l.sources import ImageFile

SHOWN = 8


def pictures(evaluation: Reconstruction, files: Sequence[ImageFile], measured: Sequence[str]) -> Tensor:
    """The first photographs of an evaluation as a page for people: (3, H, W) in [0, 1], one row each.

    Args:
        evaluation: who paints and who judges.
        files: what it was asked to measure.
        measured: names of those that could be read.
    """
    drawn, readable = evaluation.settings.draw(files), set(measured)
    shown = [file for file in drawn if str(file) in readable][:SHOWN]
    crops = evaluation.painters.read(shown, Skipped())
    painting = evaluation.painters.paint(crops, evaluation.words_of_last(drawn))
    columns = [list(crops.crops)]
    labels = [["original" for _ in crops.files]]
    for row, painted in painting.rows.items():
        decibels = evaluation.judges.figures(painted, crops.crops)["psnr"]
        columns.append(list(painted.images))
        labels.append(
            [
                f"{row}: {decibel:.1f} dB, {size:.0f} bytes"
                for decibel, size in zip(decibels, painted.sizes, strict=True)
            ]
        )
    return image_grid(*([list(row) for row in zip(*cells, strict=True)] for cells in (columns, labels)))
