"""photographs ──► one table of every tokenizer that decodes, beside codecs and shrinking at equal bytes.

All work on the same square crops in 8 bits a channel, in an order drawn from the seed. A long run keeps a
journal and goes on from it. The metrics are those of `evaluate reconstruction`. The share of photographs
whose most likely ImageNet class stays the same is added.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from v2l.checkpoint import save_tensors
from v2l.errors import V2LError
from v2l.evaluation.codecs import available_codecs, compress_all, shrink
from v2l.evaluation.journal import Journal, Record, files_metadata
from v2l.evaluation.reconstruction import (
    BATCH,
    ORIGINALS,
    ReconstructionMetrics,
    ReconstructionSettings,
    load_part,
    part_path,
)
from v2l.evaluation.reconstruction_methods import ReconstructedImages, in_8_bits
from v2l.images import Skipped, load_images, resize, resize_and_crop
from v2l.metrics import FrechetDistance
from v2l.progress import Progress
from v2l.sources import ImageFile
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.needs import require_decoder
from v2l.tokenizers.quantizers.usage import CodeUsage
from v2l.tokens import CodeStream

SHRUNK = "shrunk"
SAME_BUDGET = 1.1  # tokenizers whose bytes differ by less share a budget, the larger one
RATES = (1, 2, 4)  # of the largest budget, so that codecs have a curve


@dataclass(frozen=True)
class Measured:
    """One row of the table for some crops.

    Attributes:
        images: the crops by one method, with the bytes of each.
        codes: (B, N) int64, rows of the tokenizer's first codebook; None for codecs.
    """

    images: ReconstructedImages
    codes: Tensor | None = None


@dataclass
class Sums:
    """Sums over whole sets of images: Fréchet distances by row, and use of codes by tokenizer."""

    usage: dict[str, CodeUsage]
    distances: dict[str, FrechetDistance] = field(default_factory=dict)

    def add(self, part: Mapping[str, Tensor]) -> None:
        """One batch: features (B, D) by row, and codes by `codes/ROW`."""
        for row, values in part.items():
            if row.startswith("codes/"):
                self.usage[row.removeprefix("codes/")].add(values.long())
            elif row != ORIGINALS:
                distance = self.distances.setdefault(row, FrechetDistance(values.shape[1]))
                distance.add(values, part[ORIGINALS])


@dataclass(frozen=True)
class TokenizersResult:
    """What was measured.

    Attributes:
        figures: by row and figure, a value a photograph.
        frechet: by row, the Fréchet distance to the originals.
        usage: by tokenizer, how often each code was used.
        seconds: by tokenizer, seconds of encoding and decoding all photographs.
        parameters: by tokenizer, its number of weights.
        stacks: by tokenizer, names and fingerprints.
        tokens: by tokenizer, tokens and bits of one photograph.
        files: the photographs that were measured.
        skipped: those that could not be read, each with the reason.
        settings: of the evaluation.
        distance: name of the perceptual distance.
    """

    figures: dict[str, dict[str, list[float]]]
    frechet: dict[str, float]
    usage: dict[str, CodeUsage]
    seconds: dict[str, float]
    parameters: dict[str, int]
    stacks: dict[str, dict[str, str]]
    tokens: dict[str, tuple[int, float]]
    files: list[str]
    skipped: list[tuple[str, str]]
    settings: ReconstructionSettings
    distance: str


class TokenizersEvaluation:
    """Every tokenizer beside codecs and shrinking.

    Args:
        tokenizers: by the name of their row; each has a decoder.
        metrics: the metrics that measure all rows.
        settings: size and order of the photographs.

    Raises:
        V2LError: a tokenizer has no decoder.
    """

    def __init__(
        self,
        tokenizers: Mapping[str, ImageTokenizer],
        metrics: ReconstructionMetrics,
        settings: ReconstructionSettings,
    ) -> None:
        for tokenizer in tokenizers.values():
            require_decoder(tokenizer, "v2l evaluate tokenizers")
        self.tokenizers, self.metrics, self.settings = dict(tokenizers), metrics, settings
        self.streams = {name: self._streams(tokenizer) for name, tokenizer in tokenizers.items()}
        self.budgets = budgets_of([bits / 8 for _, bits in self.cost.values()])

    @property
    def cost(self) -> dict[str, tuple[int, float]]:
        """Tokens and bits of one photograph by each tokenizer."""
        return {
            name: (sum(stream.rows.numel() for stream in streams), sum(stream.bits for stream in streams))
            for name, streams in self.streams.items()
        }

    def run(
        self, files: Sequence[ImageFile], log: Path | None = None, progress: Progress | None = None
    ) -> TokenizersResult:
        """Measure photographs.

        Args:
            files: where they are.
            log: a journal, beside which a folder keeps what sums need; the same call goes on with it.
            progress: called as ("photographs", photographs done, all photographs) after every batch.

        Raises:
            V2LError: fewer than two photographs can be read, or the journal belongs to another evaluation.
        """
        drawn = self.settings.draw(files)
        journal = Journal.open(log, self.metadata(drawn))
        sums = Sums({name: CodeUsage(streams[0].size) for name, streams in self.streams.items()})
        for number, record in enumerate(journal.records):
            if log is not None and record["files"]:
                sums.add(load_part(log, number))
        for number in range(len(journal.records), math.ceil(len(drawn) / BATCH)):
            record, part = self._measure(drawn[number * BATCH : (number + 1) * BATCH])
            if part:
                sums.add(part)
                if log is not None:
                    save_tensors(part_path(log, number), part)
            journal.append(record)
            if progress:
                progress("photographs", min((number + 1) * BATCH, len(drawn)), len(drawn))
        return self._result(journal.records, sums)

    def metadata(self, drawn: Sequence[ImageFile]) -> Record:
        """What must be equal when a journal continues."""
        return {
            "protocol": "tokenizers",
            "settings": asdict(self.settings),
            "judge": self.metrics.distance.name,
            "codecs": list(available_codecs()),
            "photographs": files_metadata(drawn),
            "tokenizers": {name: tokenizer.fingerprint for name, tokenizer in self.tokenizers.items()},
        }

    def rows(self, crops: Tensor) -> tuple[dict[str, Measured], dict[str, float]]:
        """Crops (B, 3, S, S) by every method, and the seconds of each tokenizer."""
        rows, seconds = {}, {}
        for name, tokenizer in self.tokenizers.items():
            start = time.perf_counter()
            tokens = tokenizer.encode(crops)
            decoded = tokenizer.decode(tokens).cpu()
            if decoded.shape != crops.shape:  # it reads and writes images of its own size
                decoded = resize(decoded, (crops.shape[-2], crops.shape[-1]))
            seconds[name] = time.perf_counter() - start
            streams = [tokenizer.code_streams(tokens[index]) for index in range(len(crops))]
            sizes = [sum(stream.bits for stream in image) / 8 for image in streams]
            codes = torch.stack([image[0].rows.flatten() for image in streams])
            rows[name] = Measured(ReconstructedImages(in_8_bits(decoded), sizes), codes)
        for budget in self.budgets:
            for codec in available_codecs():
                rows[f"{codec} at {budget:.0f}"] = Measured(
                    ReconstructedImages(*compress_all(crops, codec, budget))
                )
            side = math.ceil(math.sqrt(budget / 3))  # three bytes a pixel, not fewer than the budget
            small = in_8_bits(shrink(crops, (side, side)))
            rows[f"{SHRUNK} at {budget:.0f}"] = Measured(
                ReconstructedImages(small, [3.0 * side**2] * len(crops))
            )
        return rows, seconds

    def read(self, files: Sequence[ImageFile], skipped: Skipped) -> tuple[list[str], Tensor]:
        """Names and centre crops (B, 3, S, S), in 8 bits a channel, of the readable files."""
        names, crops = [], []
        for file, image in load_images(files, skipped):
            names.append(str(file))
            crops.append(in_8_bits(resize_and_crop(image, self.settings.size)))
        return names, torch.stack(crops) if crops else torch.empty(0)

    def _measure(self, files: Sequence[ImageFile]) -> tuple[Record, dict[str, Tensor]]:
        """One batch: its record, and what sums need; nothing of the latter when no file is readable."""
        skipped = Skipped()
        names, crops = self.read(files, skipped)
        record: Record = {"files": names, "skipped": [(str(file), why) for file, why in skipped.files]}
        if not names:
            return record, {}
        rows, record["seconds"] = self.rows(crops)
        part = {name: self.metrics.describe(row.images.images) for name, row in rows.items()}
        originals = self.metrics.describe(crops)
        record["rows"] = {
            name: self.metrics.figures(row.images, crops)
            | {"same_class": self.metrics.same_class(part[name], originals)}
            for name, row in rows.items()
        }
        codes = {f"codes/{name}": row.codes.int() for name, row in rows.items() if row.codes is not None}
        return record, {**part, ORIGINALS: originals, **codes}

    def _streams(self, tokenizer: ImageTokenizer) -> tuple[CodeStream, ...]:
        """The codes of a grey square: their number and codebooks are those of every photograph."""
        size = self.settings.size
        return tokenizer.code_streams(tokenizer.encode(torch.full((1, 3, size, size), 0.5)))

    def _result(self, records: Sequence[Record], sums: Sums) -> TokenizersResult:
        measured = [record for record in records if record["files"]]
        files = [file for record in measured for file in record["files"]]
        if len(files) < 2:
            raise V2LError(f"{len(files)} photograph could be read", "at least 2: sets are compared")
        names = list(measured[0]["rows"])
        figures = {
            row: {
                figure: [value for record in measured for value in record["rows"][row][figure]]
                for figure in measured[0]["rows"][row]
            }
            for row in names
        }
        return TokenizersResult(
            figures,
            {row: distance.value for row, distance in sums.distances.items()},
            sums.usage,
            {name: sum(record["seconds"][name] for record in measured) for name in self.tokenizers},
            {name: sum(p.numel() for p in model.parameters()) for name, model in self.tokenizers.items()},
            {name: model.describe() for name, model in self.tokenizers.items()},
            self.cost,
            files,
            [tuple(pair) for record in records for pair in record["skipped"]],
            self.settings,
            self.metrics.distance.name,
        )


def budgets_of(sizes: Sequence[float]) -> list[float]:
    """Bytes that codecs get, smallest first: those of each tokenizer, and multiples of the largest."""
    budgets: list[float] = []
    for size in sorted(sizes, reverse=True):
        if not budgets or size * SAME_BUDGET < budgets[-1]:
            budgets.append(size)
    return sorted({*budgets, *(rate * max(sizes) for rate in RATES)})
