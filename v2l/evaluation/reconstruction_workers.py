"""batches of photographs ──► their figures, by the workers of an engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from v2l.engines.engine import Engine, lost_workers
from v2l.engines.work import Report
from v2l.evaluation.reconstruction import BATCH, Batch, Reconstruction, ReconstructionSettings
from v2l.pipeline.pipeline import Pipeline
from v2l.sources import ImageFile


@dataclass(frozen=True)
class ReconstructionWork:
    """What a worker loads; an item is the number of a batch.

    Attributes:
        drawn: all photographs, in their order.
        settings: of the evaluation.
        tokenizer: name or folder of the checkpoint; None is the one that ships.
        without: a checkpoint that was trained without global words, or None.
        device: of the worker, as in `choose_device`.
    """

    drawn: tuple[ImageFile, ...]
    settings: ReconstructionSettings
    tokenizer: str | None = None
    without: str | None = None
    device: str = "auto"

    def load(self) -> Reconstruction:
        """The evaluation."""
        pipeline = Pipeline.load(self.tokenizer, device=self.device)
        return Reconstruction.load(pipeline, self.settings, self.without)

    def run(self, models: Reconstruction, item: int, report: Report) -> tuple[int, Batch]:
        """The number of a batch, and what was measured of it."""
        measured = models.measure(self.drawn, item)
        report(BATCH)
        return item, measured


@dataclass(frozen=True)
class ReconstructionWorkers:
    """The workers of an engine, which measure batches.

    Attributes:
        engine: where they run.
        tokenizer: name or folder of the checkpoint; None is the one that ships.
        without: a checkpoint that was trained without global words, or None.
    """

    engine: Engine
    tokenizer: str | None = None
    without: str | None = None

    def measure(
        self, drawn: Sequence[ImageFile], numbers: Sequence[int], settings: ReconstructionSettings
    ) -> Iterator[Batch]:
        """The batches of these numbers, in their order.

        Args:
            drawn: all photographs, in their order.
            numbers: of the batches.
            settings: of the evaluation.

        Raises:
            V2LError: as the evaluation does, or workers died again and again.
        """
        work = ReconstructionWork(tuple(drawn), settings, self.tokenizer, self.without, self.engine.device)
        expected = iter(numbers)
        following = next(expected, None)
        finished: dict[int, Batch] = {}  # those whose predecessors are not finished yet
        for kind, value in self.engine.run(work, list(numbers)):
            if kind == "lost":
                raise lost_workers(f"the photographs from number {value * BATCH + 1} on")
            if kind == "result":
                number, measured = value
                finished[number] = measured
            while following in finished:
                yield finished.pop(following)
                following = next(expected, None)
