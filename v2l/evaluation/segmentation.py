"""a division of an image + the segments of annotators ──► how well they agree.

With O(R, R') = |R ∩ R'| / |R ∪ R'| (intersection over union):

    covering = 1/(H · W) · Σ_R |R| · max_R' O(R, R')
    best overlap = mean over R of max_R' O(R, R')

R runs over the segments of one annotator, R' over the parts of the division. Both are means over the
annotators. Source: Arbeláez et al., PAMI 33 (5), 2011, section 2.3 (covering); Krähenbühl & Koltun, ECCV
2014, section 5 (best overlap).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from v2l.errors import V2LError
from v2l.images import load_image
from v2l.sources import ImageFile


@dataclass(frozen=True)
class Agreement:
    """How well a division of one image agrees with its annotators.

    Attributes:
        covering: in [0, 1].
        best_overlap: in [0, 1].
        parts: of the division.
    """

    covering: float
    best_overlap: float
    parts: int


def agreement(division: Tensor, segments: Sequence[Tensor]) -> Agreement:
    """Compare a division of an image with the segments of each annotator.

    Args:
        division: (H, W) int64, the part of each pixel, numbers from 0.
        segments: of each annotator (H, W) int64, the segment of each pixel, numbers from 0.
    """
    found = [overlaps(labels, division) for labels in segments]
    coverings = [float((best * sizes).sum() / sizes.sum()) for best, sizes in found]
    return Agreement(fmean(coverings), fmean(float(best.mean()) for best, _ in found), len(division.unique()))


def overlaps(segments: Tensor, division: Tensor) -> tuple[Tensor, Tensor]:
    """The best intersection over union of each segment with any part, and the pixels of each segment.

    Args:
        segments: (H, W) int64.
        division: (H, W) int64.

    Returns:
        (R,) twice, float64, for the segments that have pixels.
    """
    rows, columns = int(segments.max()) + 1, int(division.max()) + 1
    pairs = (segments * columns + division).flatten()
    common = pairs.bincount(minlength=rows * columns).view(rows, columns).double()  # pixels of each pair
    sizes, parts = common.sum(dim=1), common.sum(dim=0)
    union = sizes[:, None] + parts[None] - common
    best = (common / union.clamp(min=1)).amax(dim=1)
    return best[sizes > 0], sizes[sizes > 0]


def enlarge(cells: Tensor, size: tuple[int, int]) -> Tensor:
    """A map of cells (h, w) int64 ──► (H, W) int64 for each pixel of an image; the nearest cell."""
    return interpolate(cells[None, None].float(), size=size, mode="nearest")[0, 0].long()


def annotators_segments(folder: Path, file: ImageFile) -> list[Tensor]:
    """The segments of an image by each of its annotators, as BSDS500 has them in 8-bit label maps.

    Args:
        folder: of files NAME_ANNOTATOR.png.
        file: an image NAME.jpg.

    Returns:
        (H, W) int64 of each annotator, numbers from 0.

    Raises:
        V2LError: the image has no annotator.
    """
    stem = Path(file.name).stem
    paths = [path for path in sorted(folder.glob("*.png")) if path.stem.rpartition("_")[0] == stem]
    if not paths:
        raise V2LError(
            f"there are no segments of {file.name} in {folder}",
            f"label maps {stem}_0.png, {stem}_1.png, …",
            "--segments FOLDER",
        )
    maps = [(load_image(path)[0] * 255).round().long() for path in paths]
    return [labels.unique(return_inverse=True)[1].view(labels.shape) for labels in maps]


def other_annotators(segments: Sequence[Tensor]) -> Agreement:
    """The agreement of each annotator with the others, a bound for what a program can reach; at least two."""
    found = [
        agreement(labels, [*segments[:place], *segments[place + 1 :]])
        for place, labels in enumerate(segments)
    ]
    parts = round(fmean(each.parts for each in found))
    return Agreement(
        fmean(each.covering for each in found), fmean(each.best_overlap for each in found), parts
    )


def segment_count(segments: Sequence[Tensor]) -> float:
    """The mean number of segments that the annotators of an image drew."""
    return fmean(int(torch.unique(labels).numel()) for labels in segments)
