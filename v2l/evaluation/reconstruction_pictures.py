"""photographs ──► a page of pictures: each original beside its reconstruction by every method."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from v2l.drawings import image_grid
from v2l.evaluation.reconstruction import Reconstruction
from v2l.images import Skipped
from v2l.sources import ImageFile

SHOWN = 8


def pictures(evaluation: Reconstruction, files: Sequence[ImageFile], measured: Sequence[str]) -> Tensor:
    """The first photographs of an evaluation as a page for people: (3, H, W) in [0, 1], one row each.

    Args:
        evaluation: methods and metrics.
        files: the photographs of the evaluation.
        measured: names of those that could be read.
    """
    drawn, readable = evaluation.settings.draw(files), set(measured)
    shown = [file for file in drawn if str(file) in readable][:SHOWN]
    crops = evaluation.methods.read(shown, Skipped())
    reconstructions = evaluation.methods.reconstruct(crops, evaluation.words_before(drawn, 0))
    columns = [list(crops.crops)]
    labels = [["original" for _ in crops.files]]
    for row, reconstructed in reconstructions.rows.items():
        decibels = evaluation.metrics.figures(reconstructed, crops.crops)["psnr"]
        columns.append(list(reconstructed.images))
        labels.append(
            [
                f"{row}: {decibel:.1f} dB, {size:.0f} bytes"
                for decibel, size in zip(decibels, reconstructed.sizes, strict=True)
            ]
        )
    # columns ──► rows: one row for each photograph
    rows = [list(row) for row in zip(*columns, strict=True)]
    row_labels = [list(row) for row in zip(*labels, strict=True)]
    return image_grid(rows, row_labels)
