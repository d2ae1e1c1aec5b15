"""photographs ──► scenes ──► figures of restoration: token accuracy, nearness and perceptual distance, beside baselines.

One scene is one photograph and one task; each is a line of the journal, so that a run that was stopped goes on behind the last of them.
Of what grows with their number only figures and sums are kept in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from v2l.checkpoint import load_tensors, save_tensors
from v2l.corruptions import TASKS
from v2l.encoders.base import fingerprint_of
from v2l.errors import V2LError
from v2l.evaluation.journal import Journal, Record
from v2l.evaluation.reconstruction import Judges, part_path
from v2l.evaluation.reconstruction_methods import Painted
from v2l.evaluation.restoration_cases import CEILING, Contestants, Restored, Scene, SceneSettings, set_scene
from v2l.images import load_image
from v2l.metrics import FrechetDistance
from v2l.pipeline.pipeline import Pipeline
from v2l.sources import ImageFile, image_size

SHOWN = 4  # photographs on the page of pictures
ORIGINAL, CLEAN, DAMAGED = "original", "clean", "damaged"
FIGURES = ("psnr", "psnr_y", "ssim", "perceptual")
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class RestorationPlan:
    """What is measured.

    Attributes:
        scenes: protocol, and how the LLM is asked.
        tasks: which of the five.
        seed: of the choice of photographs, the damage, the noise, and sampling.
        limit: how many photographs; None takes all.
    """

    scenes: SceneSettings = field(default_factory=SceneSettings)
    tasks: tuple[str, ...] = TASKS
    seed: int = 0
    limit: int | None = 40

    def __post_init__(self) -> None:
        unknown = [task for task in self.tasks if task not in TASKS]
        if unknown or not self.tasks:
            raise V2LError(
                f"got the task(s) {', '.join(unknown) or 'none'}", ", ".join(TASKS), "--tasks inpaint,deblur"
            )

    def draw(self, files: Sequence[ImageFile]) -> list[ImageFile]:
        """The photographs in the order in which they are measured."""
        return Random(self.seed).sample(files, len(files))[: self.limit]


@dataclass
class TaskTotals:
    """What is known of one task.

    Attributes:
        tokens: by row, the share of right tokens in every scene.
        figures: by area (whole, region), row and figure, a value for every scene.
        distances: by area and row, the Fréchet distance so far.
        pictures: by row, those of the first scenes.
    """

    tokens: dict[str, list[float]] = field(default_factory=dict)
    figures: dict[str, dict[str, dict[str, list[float]]]] = field(default_factory=dict)
    distances: dict[str, dict[str, FrechetDistance]] = field(default_factory=dict)
    pictures: list[dict[str, Tensor]] = field(default_factory=list)

    def add(self, record: Record, part: dict[str, Tensor]) -> None:
        """One scene: its line of the journal, and what does not fit into it."""
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
        titles = [CLEAN, DAMAGED, *record["figures"].get("whole", ())]
        pictures = {title: part[f"picture/{title}"] for title in titles if f"picture/{title}" in part}
        self.pictures.extend([pictures] if pictures else [])


@dataclass(frozen=True)
class RestorationResult:
    """What was measured.

    Attributes:
        totals: of each task.
        files: the photographs that were measured.
        skipped: those that could not be read, each with the reason.
        windows: of each task, how many windows the LLM told of a scene.
        settings: what was asked.
        judge: name of the perceptual distance.
        pipeline: names and fingerprints.
    """

    totals: dict[str, TaskTotals]
    files: list[str]
    skipped: list[tuple[str, str]]
    windows: dict[str, int]
    settings: RestorationPlan
    judge: str
    pipeline: dict[str, Any]


@dataclass(frozen=True)
class Restoration:
    """One evaluation.

    Attributes:
        pipeline: tokenizer and LLM.
        judges: the frozen networks of the report.
        settings: what is asked.
        examples: clean photographs for the blind protocol, none of which is measured.
    """

    pipeline: Pipeline
    judges: Judges
    settings: RestorationPlan
    examples: tuple[Tensor, ...] = ()

    def run(
        self, files: Sequence[ImageFile], log: Path | None = None, progress: Progress | None = None
    ) -> RestorationResult:
        """Measure photographs.

        Args:
            files: where they are.
            log: a journal, beside which a folder keeps features and the pictures to be shown; the same call goes on with it. None keeps
                nothing.
            progress: told (scenes done, scenes in all, task) after every scene.

        Raises:
            V2LError: no photograph can be read, or the journal belongs to another evaluation.
        """
        drawn, tasks = self.settings.draw(files), self.settings.tasks
        contestants = Contestants(self.pipeline, self.settings.scenes, self.examples)
        journal = Journal.open(log, self.facts(drawn))
        totals = {task: TaskTotals() for task in tasks}
        for number, record in enumerate(journal.records):
            if "error" not in record:
                totals[record["task"]].add(
                    record, load_tensors(part_path(log, number)) if record["figures"] else {}
                )
        places = [(photograph, task) for photograph in range(len(drawn)) for task in tasks]
        for number in range(len(journal.records), len(places)):
            photograph, task = places[number]
            record, part = self._measure(contestants, drawn[photograph], task, photograph)
            if "error" not in record:
                totals[task].add(record, part)
                if log is not None and part:
                    save_tensors(part_path(log, number), part)
            journal.append(record)
            if progress:
                progress(number + 1, len(places), task)
        return self._result(journal.records, totals)

    def facts(self, drawn: Sequence[ImageFile]) -> Record:
        """What must be the same when a journal goes on."""
        listed = "\n".join(f"{file} {image_size(file)}" for file in drawn)
        return {
            "protocol": f"restoration, {self.settings.scenes.protocol}",
            "settings": asdict(self.settings),
            "judge": self.judges.distance.name,
            "stack": self.pipeline.identity(),
            "photographs": {
                "n": len(drawn),
                "fingerprint": hashlib.sha256(listed.encode(errors="surrogateescape")).hexdigest()[:16],
            },
            "examples": fingerprint_of({str(number): image for number, image in enumerate(self.examples)}),
            "weights": {
                "tokenizer": fingerprint_of(self.pipeline.tokenizer.state_dict()),
                "llm": self.pipeline.llm.weights_fingerprint,
            },
        }

    def _measure(
        self, contestants: Contestants, file: ImageFile, task: str, number: int
    ) -> tuple[Record, dict[str, Tensor]]:
        """One scene: its record, and what does not fit into one."""
        record: Record = {"file": str(file), "task": task}
        try:
            photograph = load_image(file)
        except V2LError as error:
            return record | {"error": str(error)}, {}
        seed = self.settings.seed * 1_000_003 + number
        scene = set_scene(self.pipeline, photograph, task, seed, self.settings.scenes.official)
        restored = contestants.restore(scene, seed)
        record |= {"tokens": right_tokens(restored), "told": len(restored.told), "figures": {}}
        part: dict[str, Tensor] = {}
        for area, (top, bottom, left, right) in areas(scene).items() if restored.pictures else ():
            record["figures"][area] = {}
            cut = {
                row: picture[None, :, top:bottom, left:right] for row, picture in restored.pictures.items()
            }
            original = scene.clean[None, :, top:bottom, left:right]
            part[f"{area}/{ORIGINAL}"] = self.judges.describe(original)
            for row, picture in cut.items():
                figures = self.judges.figures(Painted(picture, [0.0]), original)
                record["figures"][area][row] = {name: figures[name][0] for name in FIGURES}
                part[f"{area}/{row}"] = self.judges.describe(picture)
        if number < SHOWN and restored.pictures:
            part |= {f"picture/{row}": picture for row, picture in shown_pictures(scene, restored).items()}
        return record, part

    def _result(self, records: Sequence[Record], totals: dict[str, TaskTotals]) -> RestorationResult:
        measured = [record for record in records if "error" not in record]
        skipped = list(
            dict.fromkeys((record["file"], record["error"]) for record in records if "error" in record)
        )
        if not measured:
            raise V2LError(f"none of {len(skipped)} file(s) could be read; the first: {skipped[0][1]}")
        predicted = self.settings.scenes.asking.n_predict
        windows = {record["task"]: -(-record["told"] // predicted) for record in measured}
        files = list(dict.fromkeys(record["file"] for record in measured))
        judge = self.judges.distance.name
        return RestorationResult(
            totals, files, skipped, windows, self.settings, judge, self.pipeline.describe()
        )


def right_tokens(restored: Restored) -> dict[str, float]:
    """By row, the share of the told cells that hold the clean image's token."""
    truth = restored.ids[CEILING].flatten()[restored.told]
    rows = {row: ids.flatten()[restored.told] for row, ids in restored.ids.items() if row != CEILING}
    return {row: (ids == truth).float().mean().item() for row, ids in rows.items()}


def areas(scene: Scene) -> dict[str, tuple[int, int, int, int]]:
    """The whole picture and, where it is a part, the region to be restored: (top, bottom, left, right) in pixels."""
    height, width = scene.mask.shape
    found = {"whole": (0, height, 0, width)}
    if not scene.mask.all():
        rows, columns = (scene.mask.any(dim=axis).nonzero().flatten() for axis in (1, 0))
        found["region"] = (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
    return found


def shown_pictures(scene: Scene, restored: Restored) -> dict[str, Tensor]:
    """What the page of pictures shows of a scene: uint8 (3, S, S) by title."""
    damaged = torch.where(scene.mask, 0.5, scene.damaged) if scene.hides else scene.damaged
    return {
        name: image.mul(255).round().byte()
        for name, image in {CLEAN: scene.clean, DAMAGED: damaged, **restored.pictures}.items()
    }
