"""photographs ──► tokens ──► photographs: similarity, beside codecs at equal size and beside downsampling.

Photographs stream by in batches, in an order drawn from the seed; of what grows with their number only
figures are kept in memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from v2l.checkpoint import load_tensors, save_tensors
from v2l.encoders.base import fingerprint_of
from v2l.errors import V2LError
from v2l.evaluation.journal import Journal, Record, files_metadata
from v2l.evaluation.reconstruction_methods import (
    OWN,
    WITHOUT,
    Cost,
    ReconstructedImages,
    ReconstructionMethods,
)
from v2l.images import Skipped, load_images
from v2l.metrics import FrechetDistance, luma_psnr, psnr, ssim
from v2l.perceptual import LiteFeatures, PerceptualDistance, ReleasedRange, load_perceptual, report_network
from v2l.pipeline.pipeline import Pipeline
from v2l.progress import Progress
from v2l.sources import ImageFile
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.tokenizers.quantizers.usage import CodeUsage

if TYPE_CHECKING:
    from v2l.evaluation.reconstruction_workers import ReconstructionWorkers

BATCH = 16  # photographs between two records
# Images in one pass of a metric. Larger passes take 1.5 times as long, because they do not fit a CPU's cache.
IMAGES_A_PASS = 4
# The PSNR in dB reported for equal images, because its true value is infinite. If one 8-bit value of
# 128 × 128 pixels differs by one, the PSNR is 95 dB.
PSNR_OF_EQUAL_IMAGES = 100.0
ORIGINALS = "originals"
# protocol ──► side of its crops; the official evaluation ignores the size in its settings
SIZES = {"default": 128, "official": 256}


@dataclass(frozen=True)
class ReconstructionSettings:
    """What is measured.

    Attributes:
        size: side in pixels of the crops: the shorter side is resized to it, then the centre is cropped.
        seed: of the order of the photographs, of whose words stand for whose, and of the choice when there is
            a limit.
        limit: how many photographs at most; None takes all.
        protocol: default, or official: at the size and with the LPIPS of the released evaluation.
    """

    size: int = 128
    seed: int = 0
    limit: int | None = None
    protocol: str = "default"

    def __post_init__(self) -> None:
        if self.protocol not in SIZES:
            raise V2LError(f"got the protocol {self.protocol!r}", ", ".join(SIZES), "--protocol default")

    def draw(self, files: Sequence[ImageFile]) -> list[ImageFile]:
        """The photographs in the order in which they are measured."""
        return Random(self.seed).sample(files, len(files))[: self.limit]


@dataclass(frozen=True)
class ReconstructionMetrics:
    """The metrics of reconstructed images, with their frozen networks.

    No network of these was used in a training loss.

    Attributes:
        distance: perceptual distance of two images.
        features: (B, 3, S, S) in [0, 1] ──► (B, D), the features for the Fréchet distance of sets of images.
    """

    distance: PerceptualDistance
    features: LiteFeatures

    @classmethod
    def load(cls, *tokenizers: ImageTokenizer, protocol: str = "default") -> ReconstructionMetrics:
        """Load the networks of a protocol.

        The perceptual distance of the default protocol is LPIPS if its backbone is on this machine, else
        EfficientNet-Lite2. That of the official protocol is the LPIPS of the official code. The features are
        those of EfficientNet-Lite2 for all protocols.

        Raises:
            V2LError: the protocol is official, and the backbone of its LPIPS is not on this machine.
        """
        official = protocol == "official"
        trained_for = [tokenizer.loss_network for tokenizer in tokenizers]
        name, device = "lpips-alex" if official else report_network(*trained_for), tokenizers[0].device
        distance = load_perceptual(name, device)
        if distance is None:
            raise ValueError(f"{name} is no network")
        return cls(ReleasedRange(distance) if official else distance, LiteFeatures().to(device))

    @torch.inference_mode()
    def figures(self, reconstructed: ReconstructedImages, crops: Tensor) -> dict[str, list[float]]:
        """The value of each metric for each image, with crops (B, 3, S, S) in [0, 1] as originals."""
        images, device = reconstructed.images, next(self.distance.parameters()).device
        parts = zip(torch.split(images, IMAGES_A_PASS), torch.split(crops, IMAGES_A_PASS), strict=True)
        pairs = [[part.to(device) * 2 - 1 for part in pair] for pair in parts]  # [0, 1] ──► [-1, 1]
        figures = {
            "psnr": psnr(crops, images).clamp(max=PSNR_OF_EQUAL_IMAGES),
            "psnr_y": luma_psnr(crops, images).clamp(max=PSNR_OF_EQUAL_IMAGES),
            "ssim": ssim(crops, images),
            "perceptual": torch.cat([self.distance(*pair) for pair in pairs]),
        }
        return {name: values.tolist() for name, values in figures.items()} | {"bytes": reconstructed.sizes}

    def same_class(self, features: Tensor, others: Tensor) -> list[float]:
        """1 where the most likely ImageNet class of two images is the same, else 0; features (B, D) twice."""
        device = next(self.features.parameters()).device
        first, second = (self.features.classes(part.to(device)) for part in (features, others))
        return (first == second).float().tolist()

    @torch.inference_mode()
    def describe(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) in [0, 1] ──► features (B, D) float32."""
        device = next(self.features.parameters()).device
        parts = torch.split(images, IMAGES_A_PASS)
        return torch.cat([self.features(part.to(device)).float().cpu() for part in parts])


class Totals:
    """Sums over whole sets of images: for the Fréchet distances, and how often each code was used."""

    def __init__(self, codes: int) -> None:
        self.usage = CodeUsage(codes)
        self._distances: dict[str, FrechetDistance] = {}

    def add(self, part: dict[str, Tensor]) -> None:
        """One batch: the features of the originals and of every row, and the rows of the local codebook."""
        part = dict(part)
        self.usage.add(part.pop("local_rows").long())
        originals = part.pop(ORIGINALS)
        for row, features in part.items():
            self._distances.setdefault(row, FrechetDistance(features.shape[1])).add(features, originals)

    def frechet(self) -> dict[str, float]:
        """The Fréchet distance of every row to the originals."""
        return {row: distance.value for row, distance in self._distances.items()}


@dataclass(frozen=True)
class ReconstructionResult:
    """What was measured.

    Attributes:
        figures: by row and by figure, a value a photograph, in the order of `files`.
        frechet: by row, the Fréchet distance to the originals.
        usage: how often each local code was used.
        files: the photographs that were measured.
        skipped: those that could not be read, each with the reason.
        cost: of the tokens of one photograph.
        settings: of the evaluation.
        distance: name of the perceptual distance.
        pipeline: names and fingerprints.
    """

    figures: dict[str, dict[str, list[float]]]
    frechet: dict[str, float]
    usage: CodeUsage
    files: list[str]
    skipped: list[tuple[str, str]]
    cost: Cost
    settings: ReconstructionSettings
    distance: str
    pipeline: dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """What was measured of one batch.

    Attributes:
        record: of the journal.
        sums: what figures of whole sets add up; empty if no photograph was readable.
    """

    record: Record
    sums: dict[str, Tensor]


@dataclass(frozen=True)
class Reconstruction:
    """One evaluation: the methods, the frozen networks that measure them, and the settings.

    Attributes:
        pipeline: the checkpoint that is measured.
        methods: the methods that are compared.
        metrics: the metrics that measure them.
        settings: of the evaluation.
    """

    pipeline: Pipeline
    methods: ReconstructionMethods
    metrics: ReconstructionMetrics
    settings: ReconstructionSettings

    @classmethod
    def load(
        cls,
        pipeline: Pipeline,
        settings: ReconstructionSettings,
        without: str | Path | None = None,
    ) -> Self:
        """The methods and the metrics of a pipeline's tokenizer.

        Args:
            pipeline: the checkpoint that is measured.
            settings: of the evaluation.
            without: a checkpoint that was trained without global words.

        Raises:
            V2LError: a checkpoint or a network of the protocol is missing, or the size does not fit.
        """
        grid = pipeline.grid
        second = V2LTokenizer.from_pretrained(without, str(grid.device)) if without is not None else None
        methods = ReconstructionMethods(grid, second, settings.size)
        metrics = ReconstructionMetrics.load(grid, protocol=settings.protocol)
        return cls(pipeline, methods, metrics, settings)

    def run(
        self,
        files: Sequence[ImageFile],
        log: Path | None = None,
        progress: Progress | None = None,
        workers: ReconstructionWorkers | None = None,
    ) -> ReconstructionResult:
        """Measure photographs.

        Args:
            files: where they are.
            log: a journal, beside which a folder keeps what sums need; the same call goes on with it. None
                keeps nothing.
            progress: called as ("photographs", photographs done, all photographs) after every batch.
            workers: measure the batches; None: this process. The figures are the same.

        Raises:
            V2LError: fewer than two photographs can be read, or the journal belongs to another evaluation.
        """
        drawn = self.settings.draw(files)
        journal = Journal.open(log, self.metadata(drawn))
        totals = Totals(len(self.methods.tokenizer.local_codebook))
        for number, record in enumerate(journal.records):
            if log is not None and record["files"]:  # without a journal there are no records yet
                totals.add(load_part(log, number))
        numbers = range(len(journal.records), math.ceil(len(drawn) / BATCH))
        measured = (
            (self.measure(drawn, number) for number in numbers)
            if workers is None
            else workers.measure(drawn, numbers, self.settings)
        )
        for number, batch in zip(numbers, measured, strict=True):
            if batch.sums:
                totals.add(batch.sums)
                if log is not None:
                    save_tensors(part_path(log, number), batch.sums)
            journal.append(batch.record)
            if progress:
                progress("photographs", min((number + 1) * BATCH, len(drawn)), len(drawn))
        return self._result(journal.records, totals)

    def metadata(self, drawn: Sequence[ImageFile]) -> Record:
        """What must be equal when a journal continues."""
        models = {OWN: self.methods.tokenizer, WITHOUT: self.methods.without}
        return {
            "protocol": "reconstruction",
            "settings": asdict(self.settings),
            "judge": self.metrics.distance.name,
            "stack": self.pipeline.describe(),
            "photographs": files_metadata(drawn),
            "weights": {
                name: fingerprint_of(model.state_dict())
                for name, model in models.items()
                if model is not None
            },
        }

    def measure(self, drawn: Sequence[ImageFile], number: int) -> Batch:
        """One batch of the drawn photographs; batches do not depend on each other."""
        start = number * BATCH
        skipped = Skipped()
        crops = self.methods.read(drawn[start : start + BATCH], skipped)
        record: Record = {
            "files": crops.files,
            "skipped": [(str(file), reason) for file, reason in skipped.files],
        }
        if not crops.files:
            return Batch(record, {})
        reconstructions = self.methods.reconstruct(crops, self.words_before(drawn, start))
        record["rows"] = {
            row: self.metrics.figures(images, crops.crops) for row, images in reconstructions.rows.items()
        }
        sums = {row: self.metrics.describe(images) for row, (images, _) in reconstructions.rows.items()}
        return Batch(
            record,
            sums
            | {
                ORIGINALS: self.metrics.describe(crops.crops),
                "local_rows": reconstructions.local_rows.int(),
            },
        )

    def words_before(self, drawn: Sequence[ImageFile], start: int) -> Tensor:
        """(G,) int64, the global words of the last readable photograph before number `start`.

        One of the photographs must be readable. In the control, these words replace those of a batch's first
        photograph. Before the first photograph comes the last.
        """
        tokenizer = self.methods.tokenizer
        before = [*reversed(drawn[:start]), *reversed(drawn[start:])]
        _, image = next(load_images(before, Skipped()))
        return tokenizer.global_tokens(tokenizer.joint_encoder.prepare(image)[None])[1][0].cpu()

    def _result(self, records: Sequence[Record], totals: Totals) -> ReconstructionResult:
        measured = [record for record in records if record["files"]]
        files = [file for record in measured for file in record["files"]]
        skipped = [(file, reason) for record in records for file, reason in record["skipped"]]
        if not files:
            raise V2LError(f"none of {len(skipped)} file(s) could be read; the first: {skipped[0][1]}")
        if len(files) < 2:
            raise V2LError(
                f"{len(files)} photograph could be read",
                "at least 2: sets are compared, and words are exchanged",
            )
        figures = {
            row: {
                name: [value for record in measured for value in record["rows"][row][name]] for name in of_row
            }
            for row, of_row in measured[0]["rows"].items()
        }
        return ReconstructionResult(
            figures,
            totals.frechet(),
            totals.usage,
            files,
            skipped,
            self.methods.cost,
            self.settings,
            self.metrics.distance.name,
            self.pipeline.describe(),
        )


def part_path(log: Path, number: int) -> Path:
    """Where the sums' part of one batch is kept: in a folder beside the journal."""
    return log.with_name(f"{log.name}.parts") / f"{number:06}.safetensors"


def load_part(log: Path, number: int) -> dict[str, Tensor]:
    """What an earlier run kept of one batch.

    Raises:
        V2LError: it is gone, or damaged.
    """
    path = part_path(log, number)
    if not path.is_file():
        raise V2LError(
            f"{log} goes with {path}, which is not there", "a journal with its folder", "another --log"
        )
    return load_tensors(path)
