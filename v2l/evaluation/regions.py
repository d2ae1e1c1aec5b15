"""photographs with annotators' segments + a tokenizer of clusters ──► how well the clusters fit the segments.

Each photograph is divided by the tokenizer, and by baselines with the same number of parts: a regular grid,
k-means on the same features, and SLIC superpixels. Beside them: the whole image as one part, and the
annotators against each other. The second question is whether photographs with more segments get more tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.evaluation.divisions import regular_grid, superpixels
from v2l.evaluation.first_use import first_use
from v2l.evaluation.journal import Journal, Record
from v2l.evaluation.segmentation import Agreement, agreement, annotators_segments, enlarge, other_annotators
from v2l.evaluation.segmentation import segment_count as mean_segments
from v2l.evaluation.table import figure_text, markdown_table
from v2l.images import encode_image, load_image
from v2l.metrics import Mean, RankCorrelation
from v2l.progress import Progress, silent
from v2l.sources import ImageFile
from v2l.tokenizers.clusters.k_means import k_means
from v2l.tokenizers.clusters.model import ClusterTokenizer, cluster_points, nearest_centres
from v2l.tokenizers.contract import ImageTokenizer

OWN, ONE, PEOPLE = "clusters", "one part", "annotators among themselves"
BASELINES = ("regular grid", "k-means", "SLIC")
METHODS = (OWN, *BASELINES, ONE, PEOPLE)
FIGURES = ("covering", "best_overlap")
WEBP = {"format": "WEBP", "quality": 80, "method": 4}  # the photograph whose bytes are counted


@dataclass(frozen=True)
class RegionCase:
    """One photograph with its annotations.

    Attributes:
        image: (3, H, W) in [0, 1].
        segments: (H, W) int64 of each annotator.
        seed: of k-means.
    """

    image: Tensor
    segments: Sequence[Tensor]
    seed: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.image.shape[-2:]
        return height, width


def evaluate_regions(
    tokenizer: ImageTokenizer,
    files: Sequence[ImageFile],
    segments: Path,
    journal: Journal,
    seed: int = 0,
    progress: Progress = silent,
) -> list[Record]:
    """Measure a tokenizer of clusters, one record for each photograph; a journal continues.

    Raises:
        V2LError: the tokenizer has no clusters, or a photograph has no segments or cannot be read.
    """
    if not isinstance(tokenizer, ClusterTokenizer):
        raise V2LError(
            f"the tokenizer {tokenizer.NAME!r} does not divide an image into clusters",
            "a tokenizer of clusters: setok",
            "--tokenizer setok",
        )
    if len(files) < 2:
        raise V2LError(f"got {len(files)} photograph(s)", "2 and more", "a folder of photographs")
    first_use(tokenizer)
    for place in range(len(journal.records), len(files)):
        case = RegionCase(load_image(files[place]), annotators_segments(segments, files[place]), seed)
        journal.append({"image": str(files[place].name), **measure(tokenizer, case)})
        progress("dividing photographs", place + 1, len(files))
    return journal.records


@torch.inference_mode()
def measure(tokenizer: ClusterTokenizer, case: RegionCase) -> Record:
    """The figures of one photograph."""
    images, settings = case.image[None].to(tokenizer.device), tokenizer.cluster_settings
    start = time.perf_counter()
    features = tokenizer.patch_features(images)
    division = tokenizer.divide(images, features)[0]
    tokens = tokenizer.name_divisions([division])
    seconds = time.perf_counter() - start
    count = len(division.features)
    points = cluster_points(features[0], settings)

    def by_k_means() -> Tensor:
        centres = k_means(points.flatten(0, 1), count, case.seed).to(points)
        return enlarge(nearest_centres(points, centres, settings.refine).cpu(), case.size)

    divisions: dict[str, Callable[[], Tensor]] = {
        OWN: lambda: enlarge(division.cells.cpu(), case.size),
        "regular grid": lambda: regular_grid(count, case.size),
        "k-means": by_k_means,
        "SLIC": lambda: superpixels(case.image, count),
        ONE: lambda: torch.zeros(case.size, dtype=torch.int64),
    }
    found: dict[str, Agreement] = {name: agreement(make(), case.segments) for name, make in divisions.items()}
    if len(case.segments) > 1:
        found[PEOPLE] = other_annotators(case.segments)
    return {
        "tokens": count,
        "segments": mean_segments(case.segments),
        "webp_bytes": len(encode_image(case.image, **WEBP)),
        "seconds": seconds,
        "words": list(tokens.strings()),
        "agreement": {name: asdict(each) for name, each in found.items()},
    }


def report(records: Sequence[Record]) -> dict[str, Any]:
    """The object for programs: figures with 95 % intervals, and the differences from each baseline."""
    names = [name for name in METHODS if all(name in record["agreement"] for record in records)]
    segments = [record["segments"] for record in records]
    complexity = {
        "tokens and segments": [record["tokens"] for record in records],
        "webp_bytes and segments": [record["webp_bytes"] for record in records],
    }
    return {
        "agreement": {name: _figures(records, name) for name in names},
        "clusters_minus": {name: _differences(records, name) for name in names if name != OWN},
        "rank_correlation": {
            name: RankCorrelation.of(values, segments).to_dict()
            for name, values in complexity.items()
            if len(set(values)) > 1 and len(set(segments)) > 1
        },
        "tokens": _mean([record["tokens"] for record in records]),
        "seconds": _mean([record["seconds"] for record in records]),
        "n": len(records),
        "protocol": "regions: baselines with the same number of parts, photograph by photograph; "
        "mean over the annotators, then over the photographs",
    }


def page(found: dict[str, Any]) -> str:
    """The figures of `report` for people."""
    agreement_rows = [
        [
            name,
            *(figure_text(figures[figure]) for figure in FIGURES),
            f"{figures['parts']['value']:.1f}",
            *(
                figure_text(found["clusters_minus"][name][figure], signed=True) if name != OWN else ""
                for figure in FIGURES
            ),
        ]
        for name, figures in found["agreement"].items()
    ]
    head = ["", "covering", "best overlap", "parts", "clusters minus it: covering", "best overlap"]
    lines = [
        f"{found['n']} photographs, means with their 95 % intervals",
        "",
        markdown_table(head, agreement_rows),
        "",
        f"tokens an image: {figure_text(found['tokens'])}; seconds an image: {found['seconds']['value']:.2f}",
        *(
            f"rank correlation of {name.replace('_', ' ')}: {figure_text(value, signed=True)}"
            for name, value in found["rank_correlation"].items()
        ),
    ]
    return "\n".join(lines)


def _figures(records: Sequence[Record], name: str) -> dict[str, Any]:
    """The means of one method."""
    rows = [record["agreement"][name] for record in records]
    return {figure: _mean([row[figure] for row in rows]) for figure in (*FIGURES, "parts")}


def _differences(records: Sequence[Record], name: str) -> dict[str, Any]:
    """The means of clusters minus another method, photograph by photograph."""
    rows = [(record["agreement"][OWN], record["agreement"][name]) for record in records]
    return {figure: _mean([own[figure] - other[figure] for own, other in rows]) for figure in FIGURES}


def _mean(samples: Sequence[float]) -> dict[str, Any]:
    return Mean.of(samples).to_dict()
