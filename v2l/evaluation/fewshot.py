"""class folders ──► the paper's table 1: few-shot accuracy for each setting, beside baselines without an LLM.

The settings are ways, shots, repeats, description and words. All cells of equal ways and shots use the same
episodes. Source: V2L Tokenizer, arXiv 2403.07874, section 4.1 and table 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, Self

from v2l.datasets import ClassFolder, Episode, draw_episodes
from v2l.evaluation.journal import LLM, WEIGHTS, Journal, Record, files_metadata, identify_llm
from v2l.evaluation.table import markdown_table
from v2l.images import Skipped
from v2l.llm.shuffle import shuffle_weights
from v2l.metrics import Proportion
from v2l.pipeline.image_words import read_image_words
from v2l.pipeline.pipeline import Pipeline
from v2l.progress import Progress
from v2l.tasks.classification.baselines import Names, name_vectors
from v2l.tasks.classification.fewshot import (
    FewShotSettings,
    Method,
    Prediction,
    baseline_right,
    classify_episode,
    image_paths,
    share,
    soft_method,
)
from v2l.tokenizers.needs import gives

CONTROL = "shuffled LLM"


@dataclass(frozen=True)
class Cell:
    """One cell of the table: the settings of one accuracy.

    Attributes:
        n_ways: classes of an episode.
        k_shots: labelled images of a class.
        repeats: how often the support is repeated.
        induction: whether a first line describes the task and lists the labels.
        n_words: global words of an image.
    """

    n_ways: int
    k_shots: int
    repeats: int
    induction: bool
    n_words: int

    def method(self, method: Method) -> Method:
        """The method with the settings of this cell."""
        words = replace(method.words, count=self.n_words)
        format = replace(method.format, induction=self.induction, repeats=self.repeats)
        return replace(method, words=words, format=format)


@dataclass(frozen=True)
class Grid:
    """Which cells are measured.

    Attributes:
        n_ways: classes of an episode.
        k_shots: labelled images of a class.
        repeats: how often the support is repeated.
        induction: without and with a description.
        n_words: global words of an image.
        every: every combination. Otherwise only the paper's columns: without a description the first of shots
            and repeats; with it more shots or more repeats, not both.
    """

    n_ways: tuple[int, ...] = (2, 5)
    k_shots: tuple[int, ...] = (1, 3, 5)
    repeats: tuple[int, ...] = (0, 1, 3, 5)
    induction: tuple[bool, ...] = (False, True)
    n_words: tuple[int, ...] = (5, 21)
    every: bool = False

    def cells(self) -> list[Cell]:
        """The cells in the order in which they are measured and printed."""
        found = [
            Cell(ways, shots, repeats, induction, words)
            for ways, words, induction, shots, repeats in product(
                self.n_ways, self.n_words, self.induction, self.k_shots, self.repeats
            )
        ]
        return found if self.every else [cell for cell in found if self._in_table(cell)]

    def _in_table(self, cell: Cell) -> bool:
        fewest_shots = cell.k_shots == self.k_shots[0]
        fewest_repeats = cell.repeats == self.repeats[0]
        if cell.induction or len(self.induction) == 1:
            return fewest_shots or fewest_repeats
        return fewest_shots and fewest_repeats


@dataclass(frozen=True)
class CellResult:
    """The predictions of one cell.

    Attributes:
        cell: the settings.
        predictions: one for each episode.
        control: for each episode whether the LLM with shuffled weights was right; empty without this control.
    """

    cell: Cell
    predictions: tuple[Prediction, ...]
    control: tuple[bool, ...] = ()

    @property
    def accuracy(self) -> Proportion:
        """The share of right predictions."""
        return known_share(prediction.right for prediction in self.predictions)

    @property
    def baselines(self) -> dict[str, Proportion]:
        """The same for the baselines without an LLM, and for the LLM with shuffled weights."""
        names = self.predictions[0].baselines
        shares = {
            name: known_share(baseline_right(prediction, name) for prediction in self.predictions)
            for name in names
        }
        return shares | ({CONTROL: known_share(self.control)} if self.control else {})

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        baselines = {name: found.to_dict() for name, found in self.baselines.items()}
        figures = {"accuracy": self.accuracy.to_dict(), "n": len(self.predictions)}
        return (
            asdict(self.cell)
            | figures
            | {"baselines": {"chance": {"value": 1 / self.cell.n_ways}, **baselines}}
        )


@dataclass(frozen=True)
class FewShotTable:
    """All cells of one evaluation.

    Attributes:
        cells: in the order of the grid.
        settings: the settings of the run.
        grid: which cells were measured.
        pipeline: names and fingerprints of tokenizer and LLM.
        skipped: files that could not be read.
    """

    cells: tuple[CellResult, ...]
    settings: FewShotSettings
    grid: Grid
    pipeline: dict[str, Any]
    skipped: Skipped

    def to_dict(self) -> dict[str, Any]:
        """The report."""
        return {
            "cells": [cell.to_dict() for cell in self.cells],
            "n": sum(len(cell.predictions) for cell in self.cells),
            "seed": self.settings.seed,
            "protocol": self.settings.method.protocol,
            "settings": asdict(self.settings),
            "grid": asdict(self.grid),
            "skipped": [{"image": str(path), "reason": reason} for path, reason in self.skipped.files],
            "stack": self.pipeline,
        }


@dataclass(frozen=True)
class FewShotEvaluation:
    """The evaluation of a grid on a folder of class folders.

    Attributes:
        pipeline: tokenizer and LLM.
        folder: one folder of images for each class.
        settings: number of episodes in a cell, their seed, and the method outside of what a cell sets.
        grid: which cells.
        control: whether the LLM with shuffled weights is measured too; each episode has its own shuffle.
    """

    pipeline: Pipeline
    folder: ClassFolder
    settings: FewShotSettings = field(default_factory=lambda: FewShotSettings(episodes=50))
    grid: Grid = field(default_factory=Grid)
    control: bool = False

    def run(self, log: str | Path | None = None, progress: Progress | None = None) -> FewShotTable:
        """Classify every episode of every cell, or continue after the last record of a journal.

        Args:
            log: a journal with one prediction in a line; None keeps them in memory only.
            progress: called after every prediction.

        Raises:
            V2LError: too few classes or images, a prompt longer than the context, a journal of other settings
                or of another LLM, or a rule that scores words, for soft tokens.
        """
        if self.reads_soft_tokens and self != self.with_soft_method():
            return self.with_soft_method().run(log, progress)
        cells, skipped = self.grid.cells(), Skipped()
        drawn = self._draw(cells, skipped)
        journal = Journal.open(log, self._metadata())
        total = len(cells) * self.settings.episodes
        if len(journal.records) < total:
            for record in self._predict(cells, drawn, len(journal.records)):
                journal.append(record)
                if progress:
                    progress("answers", len(journal.records), total)
        found = tuple(
            cell_result(cell, self._of_cell(journal.records, place)) for place, cell in enumerate(cells)
        )
        return FewShotTable(found, self.settings, self.grid, self.pipeline.describe(), skipped)

    @property
    def reads_soft_tokens(self) -> bool:
        """Whether the tokenizer is an adapter."""
        return gives(self.pipeline.tokenizer, "embeddings")

    def with_soft_method(self) -> Self:
        """The same for an adapter: its prompt has no repeats, no description and no number of words."""
        grid = replace(self.grid, repeats=(0,), induction=(False,), n_words=self.grid.n_words[:1])
        settings = replace(self.settings, method=soft_method(self.settings.method))
        return replace(self, grid=grid, settings=settings)

    def _draw(self, cells: Sequence[Cell], skipped: Skipped) -> dict[tuple[int, int], list[Episode]]:
        """The episodes of each (ways, shots)."""
        shapes = dict.fromkeys((cell.n_ways, cell.k_shots) for cell in cells)
        return {
            shape: draw_episodes(self.folder, *shape, self.settings.episodes, self.settings.seed, skipped)
            for shape in shapes
        }

    def _predict(
        self, cells: Sequence[Cell], drawn: dict[tuple[int, int], list[Episode]], done: int
    ) -> Iterator[Record]:
        """The records after the first `done` ones."""
        has_vectors = self.pipeline.tokenizer.tagger is not None
        names = name_vectors(self.pipeline.joint_encoder, list(self.folder.classes)) if has_vectors else None
        for place, cell in enumerate(cells):
            first = max(0, done - place * self.settings.episodes)
            yield from self._predict_cell(cell, drawn[cell.n_ways, cell.k_shots][first:], names, first)

    def _predict_cell(
        self, cell: Cell, episodes: Sequence[Episode], names: Names | None, first: int
    ) -> Iterator[Record]:
        method = cell.method(self.settings.method)
        images = read_image_words(self.pipeline.tokenizer, image_paths(episodes), method.words)
        for number, episode in enumerate(episodes, first):
            prediction = classify_episode(self.pipeline.llm, episode, images, method, names)
            record = {"cell": asdict(cell)} | asdict(prediction)
            if self.control:
                # a new shuffle for each episode, because one shuffle makes the same errors in all of them
                control = shuffle_weights(self.pipeline.llm, self.settings.seed + number)
                record["control"] = classify_episode(control, episode, images, method).right
            yield record

    def _of_cell(self, records: Sequence[Record], place: int) -> Sequence[Record]:
        return records[place * self.settings.episodes : (place + 1) * self.settings.episodes]

    def _metadata(self) -> Record:
        """What must be equal when a journal continues."""
        return {
            "images": files_metadata([path for paths in self.folder.classes.values() for path in paths]),
            "settings": asdict(self.settings),
            "grid": asdict(self.grid),
            "control": self.control,
            "stack": self.pipeline.identity(),
            WEIGHTS: self.pipeline.tokenizer.fingerprint,
            LLM: identify_llm(self.pipeline),
        }


def cell_result(cell: Cell, records: Sequence[Record]) -> CellResult:
    """The result of one cell from its records."""
    predictions = tuple(
        Prediction.from_dict({key: record[key] for key in record.keys() - {"cell", "control"}})
        for record in records
    )
    control = tuple(record["control"] for record in records if "control" in record)
    return CellResult(cell, predictions, control)


def known_share(right: Iterable[bool | None]) -> Proportion:
    """The share of right predictions where every class is known, as in class folders."""
    found = share(right)
    if found is None:
        raise ValueError("no episode has a known class")
    return found


HEAD = ("cell", "accuracy", "chance")


def page(table: FewShotTable) -> str:
    """The table as text."""
    names, soft = list(table.cells[0].baselines), "soft_tokens" in table.pipeline
    rows = [
        [
            describe_cell(result.cell, soft),
            percent(result.accuracy),
            f"{100 / result.cell.n_ways:.1f}",
            *(f"{100 * share.value:.1f}" for share in result.baselines.values()),
        ]
        for result in table.cells
    ]
    method, n = table.settings.method, table.settings.episodes
    llm, seed = table.pipeline["llm"], table.settings.seed
    first = (
        f"{llm}, protocol {method.protocol}, rule {method.rule}: {n} episodes a cell, seed {seed}; per cent"
    )
    return f"{first}, with 95 % intervals\n\n{markdown_table([*HEAD, *names], rows)}"


def describe_cell(cell: Cell, soft: bool = False) -> str:
    """A cell in words; soft tokens have no repeats, no description and no words."""
    if soft:
        return f"{cell.n_ways}-way {cell.k_shots}-shot, soft tokens"
    description = "description" if cell.induction else "no description"
    repeats = f"{cell.repeats} repeat{'' if cell.repeats == 1 else 's'}"
    words = f"{cell.n_words} word{'' if cell.n_words == 1 else 's'}"
    return f"{cell.n_ways}-way {cell.k_shots}-shot, {repeats}, {description}, {words}"


def percent(share: Proportion) -> str:
    """A share with its interval, in per cent."""
    low, high = share.interval
    return f"{100 * share.value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
