"""photographs ──► test cases ──► figures of restoration: token accuracy, PSNR, SSIM, perceptual distance.

A test case is one photograph and one task. Each is a line of the journal, so that a stopped run is resumed
after the last of them. Memory holds figures and sums of the cases, not their pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from v2l.checkpoint import load_tensors, save_tensors
from v2l.corruptions import TASKS
from v2l.encoders.base import fingerprint_of
from v2l.errors import V2LError
from v2l.evaluation.journal import Journal, Record, files_metadata
from v2l.evaluation.reconstruction import ReconstructionMetrics, part_path
from v2l.evaluation.reconstruction_methods import ReconstructedImages
from v2l.evaluation.restoration.cases import (
    CEILING,
    CaseResults,
    CaseSettings,
    Methods,
    RestorationCase,
    make_case,
)
from v2l.images import load_image
from v2l.metrics import FrechetDistance
from v2l.pipeline.pipeline import Pipeline
from v2l.progress import Progress
from v2l.sources import ImageFile
from v2l.tasks.restoration.restorer import Restorer
from v2l.tasks.restoration.settings import stored

SHOWN = 4  # photographs on the page of pictures
ORIGINAL, CLEAN, CORRUPTED = "original", "clean", "damaged"  # titles of pictures, as journals store them
FIGURES = ("psnr", "psnr_y", "ssim", "perceptual")
LATER_NAMES = ("llm_weights", "tokenizer")  # of a pipeline, which journals of version 0.1 do not have


@dataclass(frozen=True)
class RestorationPlan:
    """What is measured.

    Attributes:
        cases: protocol, and how the LLM is prompted.
        tasks: which of the five.
        seed: of the choice of photographs, the corruption, the noise, and sampling.
        limit: number of photographs; None takes all.

    Raises:
        V2LError: a task is unknown, or there is none.
    """

    cases: CaseSettings = field(default_factory=CaseSettings)
    tasks: tuple[str, ...] = TASKS
    seed: int = 0
    limit: int | None = 40

    def __post_init__(self) -> None:
        unknown = [task for task in self.tasks if task not in TASKS]
        if unknown or not self.tasks:
            got = f"got the task(s) {', '.join(unknown) or 'none'}"
            raise V2LError(got, ", ".join(TASKS), "--tasks inpaint,deblur")

    def draw(self, files: Sequence[ImageFile]) -> list[ImageFile]:
        """The photographs in the order in which they are measured."""
        return Random(self.seed).sample(files, len(files))[: self.limit]


@dataclass
class TaskTotals:
    """The figures of one task.

    Attributes:
        tokens: method ──► the share of right tokens in every case.
        figures: area (whole, region) ──► method ──► figure ──► a value for every case.
        distances: area ──► method ──► the Fréchet distance so far.
        pictures: of the first cases: title ──► uint8 (3, S, S).
    """

    tokens: dict[str, list[float]] = field(default_factory=dict)
    figures: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    distances: dict[str, dict[str, FrechetDistance]] = field(default_factory=dict)
    pictures: list[dict[str, Tensor]] = field(default_factory=list)

    def add(self, record: Record, part: dict[str, Tensor]) -> None:
        """Add one case: its line of the journal, and its tensors."""
        for row, share in record["tokens"].items():
            self.tokens.setdefault(row, []).append(share)
        for area, rows in record["figures"].items():
            of_area = self.figures.setdefault(area, {})
            for row, figures in rows.items():
                of_row = of_area.setdefault(row, {})
                for name in FIGURES:
                    of_row.setdefault(name, []).append(figures[name])
                features = part[f"{area}/{row}"]
                distance = self.distances.setdefault(area, {}).setdefault(
                    row, FrechetDistance(features.shape[1])
                )
                distance.add(features, part[f"{area}/{ORIGINAL}"])
        titles = [CLEAN, CORRUPTED, *record["figures"].get("whole", ())]
        pictures = {title: part[f"picture/{title}"] for title in titles if f"picture/{title}" in part}
        self.pictures.extend([pictures] if pictures else [])


@dataclass(frozen=True)
class RestorationResult:
    """What was measured.

    Attributes:
        totals: task ──► its figures.
        files: the photographs that were measured.
        skipped: those that could not be read, each with the reason.
        windows: task ──► number of windows that the LLM predicted in a case.
        settings: the plan.
        distance: name of the perceptual distance.
        pipeline: names and fingerprints.
    """

    totals: dict[str, TaskTotals]
    files: list[str]
    skipped: list[tuple[str, str]]
    windows: dict[str, int]
    settings: RestorationPlan
    distance: str
    pipeline: dict[str, Any]


@dataclass(frozen=True)
class Restoration:
    """One evaluation.

    Attributes:
        pipeline: tokenizer and LLM.
        metrics: the metrics of the restored images.
        settings: the plan.
        examples: clean photographs for the blind protocol, none of which is measured.
        restorers: title ──► restorer with its LLM, measured by the blind protocol too.
    """

    pipeline: Pipeline
    metrics: ReconstructionMetrics
    settings: RestorationPlan
    examples: tuple[Tensor, ...] = ()
    restorers: Mapping[str, Restorer] = field(default_factory=dict)

    def run(
        self, files: Sequence[ImageFile], log: Path | None = None, progress: Progress | None = None
    ) -> RestorationResult:
        """Measure photographs.

        Args:
            files: where they are.
            log: a journal, beside which a folder keeps features and the pictures to be shown; the same call
                resumes it. None keeps nothing.
            progress: called as ("cases", cases done, all cases) after every case.

        Raises:
            V2LError: no photograph can be read, or the journal belongs to another evaluation.
        """
        drawn, tasks = self.settings.draw(files), self.settings.tasks
        methods = Methods(self.pipeline, self.settings.cases, self.examples, self.restorers)
        journal = Journal.open(log, self.metadata(drawn))
        totals = {task: TaskTotals() for task in tasks}
        for number, record in enumerate(journal.records):
            if "error" not in record:
                part = load_tensors(part_path(log, number)) if log is not None and record["figures"] else {}
                totals[record["task"]].add(record, part)
        places = [(photograph, task) for photograph in range(len(drawn)) for task in tasks]
        for number in range(len(journal.records), len(places)):
            photograph, task = places[number]
            record, part = self._measure(methods, drawn[photograph], task, photograph)
            if "error" not in record:
                totals[task].add(record, part)
                if log is not None and part:
                    save_tensors(part_path(log, number), part)
            journal.append(record)
            if progress:
                progress("cases", number + 1, len(places))
        return self._result(journal.records, totals)

    def metadata(self, drawn: Sequence[ImageFile]) -> Record:
        """What must be equal when a journal is resumed.

        Names on disk are those of version 0.1 (scenes, asking, and the settings' own), so that its journals
        can be resumed. For the same reason the stack has no names that came later; `weights` covers them.
        """
        cases = self.settings.cases
        stack = {name: value for name, value in self.pipeline.identity().items() if name not in LATER_NAMES}
        return {
            "protocol": f"restoration, {cases.protocol}",
            "settings": {
                "scenes": {
                    "protocol": cases.protocol,
                    "asking": stored(cases.prediction),
                    "windows": cases.windows,
                },
                "tasks": self.settings.tasks,
                "seed": self.settings.seed,
                "limit": self.settings.limit,
            },
            "judge": self.metrics.distance.name,
            "stack": stack,
            "photographs": files_metadata(drawn),
            "examples": fingerprint_of({str(number): image for number, image in enumerate(self.examples)}),
            "weights": {
                "tokenizer": fingerprint_of(self.pipeline.grid.state_dict()),
                "llm": self.pipeline.llm.weights_fingerprint,
            },
            **({} if cases.prompts else {"prompts": False}),
            **({"restorers": self._restorers()} if self.restorers else {}),
        }

    def _restorers(self) -> dict[str, str]:
        """Title ──► hash of the weights."""
        return {title: fingerprint_of(one.state_dict()) for title, one in self.restorers.items()}

    def _measure(
        self, methods: Methods, file: ImageFile, task: str, number: int
    ) -> tuple[Record, dict[str, Tensor]]:
        """Measure one case: its line of the journal, and its tensors."""
        record: Record = {"file": str(file), "task": task}
        try:
            photograph = load_image(file)
        except V2LError as error:
            return record | {"error": str(error)}, {}
        seed = self.settings.seed * 1_000_003 + number
        case = make_case(self.pipeline, photograph, task, seed, self.settings.cases.official)
        results = methods.restore(case, seed)
        record |= {"tokens": right_tokens(results), "told": len(results.predicted), "figures": {}}
        part: dict[str, Tensor] = {}
        for area, (rows, columns) in areas(case).items() if results.pictures else ():
            record["figures"][area] = {}
            original = case.clean[None, :, rows, columns]
            part[f"{area}/{ORIGINAL}"] = self.metrics.describe(original)
            for row, picture in results.pictures.items():
                cut = picture[None, :, rows, columns]
                figures = self.metrics.figures(ReconstructedImages(cut, [0.0]), original)
                record["figures"][area][row] = {name: figures[name][0] for name in FIGURES}
                part[f"{area}/{row}"] = self.metrics.describe(cut)
        if number < SHOWN and results.pictures:
            part |= {f"picture/{row}": picture for row, picture in shown_pictures(case, results).items()}
        return record, part

    def _result(self, records: Sequence[Record], totals: dict[str, TaskTotals]) -> RestorationResult:
        measured = [record for record in records if "error" not in record]
        skipped = list(
            dict.fromkeys((record["file"], record["error"]) for record in records if "error" in record)
        )
        if not measured:
            raise V2LError(f"none of {len(skipped)} file(s) could be read; the first: {skipped[0][1]}")
        n_predict = self.settings.cases.prediction.n_predict
        windows = {record["task"]: -(-record["told"] // n_predict) for record in measured}
        files = list(dict.fromkeys(record["file"] for record in measured))
        distance = self.metrics.distance.name
        return RestorationResult(
            totals, files, skipped, windows, self.settings, distance, self.pipeline.describe()
        )


def right_tokens(results: CaseResults) -> dict[str, float]:
    """Method ──► the share of the predicted cells that hold the clean image's token."""
    truth = results.ids[CEILING].flatten()[results.predicted]
    rows = {row: ids.flatten()[results.predicted] for row, ids in results.ids.items() if row != CEILING}
    return {row: (ids == truth).float().mean().item() for row, ids in rows.items()}


def areas(case: RestorationCase) -> dict[str, tuple[slice, slice]]:
    """The rows and columns of the whole picture and, where it is a part, of the region to restore."""
    height, width = case.mask.shape
    found = {"whole": (slice(0, height), slice(0, width))}
    if not case.mask.all():
        rows = case.mask.any(dim=1).nonzero().flatten()
        columns = case.mask.any(dim=0).nonzero().flatten()
        found["region"] = (
            slice(int(rows[0]), int(rows[-1]) + 1),
            slice(int(columns[0]), int(columns[-1]) + 1),
        )
    return found


def shown_pictures(case: RestorationCase, results: CaseResults) -> dict[str, Tensor]:
    """The pictures of a case for the page: title ──► uint8 (3, S, S)."""
    corrupted = torch.where(case.mask, 0.5, case.corrupted) if case.is_masked else case.corrupted
    return {
        name: image.mul(255).round().byte()
        for name, image in {CLEAN: case.clean, CORRUPTED: corrupted, **results.pictures}.items()
    }
