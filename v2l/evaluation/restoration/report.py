"""measured restoration ──► JSON for programs, tables for people, a page of pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from torch import Tensor

from v2l.drawings import image_grid
from v2l.evaluation.reconstruction_report import FD, MIN_PHOTOGRAPHS
from v2l.evaluation.restoration.cases import LLM, NOTHING
from v2l.evaluation.restoration.run import FIGURES, RestorationResult, TaskTotals
from v2l.evaluation.table import markdown_table
from v2l.metrics import Mean

EVIDENCE = {
    "paper": "the LLM's examples are noisy copies of the clean image's tokens; most of the answer is in "
    "them, as the vote shows",
    "official": "as the paper's, with noise, shift and the two-token input of the official code",
    "blind": "no method gets a masked or an uncorrupted pixel; examples come from the visible part and from "
    "other images",
}


def report(result: RestorationResult) -> dict[str, Any]:
    """The object for programs: for each task, the figures of all methods, with 95 % intervals."""
    cases = result.settings.cases
    return {
        "metrics": {task: _metrics(totals, LLM) for task, totals in result.totals.items()},
        "baselines": {
            task: {row: _metrics(totals, row) for row in _rows(totals) if row != LLM}
            for task, totals in result.totals.items()
        },
        "windows": result.windows,
        "n": len(result.files),
        "seed": result.settings.seed,
        "protocol": cases.protocol,
        "evidence": EVIDENCE[cases.protocol],
        "networks": {"perceptual": result.distance, "fd_effnet": "efficientnet-lite2"},
        "settings": asdict(result.settings),
        "skipped": [{"image": file, "reason": reason} for file, reason in result.skipped],
        "stack": result.pipeline,
    }


def page(result: RestorationResult) -> str:
    """The figures for people: a table a task."""
    protocol, prediction = result.settings.cases.protocol, result.settings.cases.prediction
    lines = [
        f"Protocol `{protocol}`: {EVIDENCE[protocol]}.",
        f"{len(result.files):,} photographs, prompt {prediction.prompt}, mean with its 95 % interval; "
        f"{result.distance} and {FD}: less is better.",
    ]
    for task, totals in result.totals.items():
        lines += [
            "",
            f"{task}, {result.windows.get(task, 0)} windows a photograph",
            "",
            *_tables(totals, result.distance),
        ]
    if any(totals.figures for totals in result.totals.values()) and len(result.files) < MIN_PHOTOGRAPHS:
        n = f"{len(result.files):,}, below {MIN_PHOTOGRAPHS:,}"
        lines += ["", f"{FD} is of n = {n}: compare rows of one table only."]
    return "\n".join(lines)


def pictures(result: RestorationResult) -> Tensor | None:
    """A page of the first photographs, one row for each of their tasks.

    Returns:
        (3, H, W) in [0, 1]; None when there are no pictures.
    """
    shown = [(task, row) for task, totals in result.totals.items() for row in totals.pictures]
    if not shown:
        return None
    images = [[picture.float() / 255 for picture in row.values()] for _, row in shown]
    return image_grid(images, [[f"{task}: {title}" for title in row] for task, row in shown])


def _rows(totals: TaskTotals) -> Sequence[str]:
    """The methods: the LLM first, the others in their order."""
    seen = dict.fromkeys([*totals.tokens, *(row for rows in totals.figures.values() for row in rows)])
    return sorted(seen, key=lambda row: row != LLM)


def _metrics(totals: TaskTotals, row: str) -> dict[str, Any]:
    """The figures of one method."""
    found: dict[str, Any] = {}
    if row in totals.tokens:
        mean = Mean.of(totals.tokens[row])
        found["token_accuracy"] = {
            "value": mean.value,
            "interval": list(_share_interval(mean)) if mean.n > 1 else None,
        }
    for area, rows in totals.figures.items():
        if row in rows:
            found[area] = {name: Mean.of(samples).to_dict() for name, samples in rows[row].items()}
            found[area]["fd_effnet"] = {"value": _frechet(totals, area, row), "interval": None}
            found[area]["less_than_doing_nothing"] = _beside(rows, row)
    return found


def _beside(rows: Mapping[str, Mapping[str, Sequence[float]]], row: str) -> dict[str, Any] | None:
    """The perceptual distance minus that of the corrupted picture, case by case; below 0 is better."""
    if NOTHING not in rows:
        return None
    pairs = zip(rows[row]["perceptual"], rows[NOTHING]["perceptual"], strict=True)
    return Mean.of([own - nothing for own, nothing in pairs]).to_dict()


def _frechet(totals: TaskTotals, area: str, row: str) -> float | None:
    """The Fréchet distance; None for a single case, because it compares sets."""
    return totals.distances[area][row].value if len(totals.figures[area][row]["psnr"]) > 1 else None


def _tables(totals: TaskTotals, distance: str) -> list[str]:
    rows = _rows(totals)
    lines = [
        markdown_table(
            ["", "right tokens"], [[row, _share(totals.tokens[row])] for row in rows if row in totals.tokens]
        )
    ]
    for area, figures in totals.figures.items():
        head = [area, "PSNR RGB, dB", "PSNR Y, dB", "SSIM", distance, FD]
        cells = [
            [
                row,
                *(str(Mean.of(figures[row][name])) for name in FIGURES),
                _number(_frechet(totals, area, row)),
            ]
            for row in rows
            if row in figures
        ]
        lines += ["", markdown_table(head, cells)]
    return lines


def _share(samples: Sequence[float]) -> str:
    mean = Mean.of(samples)
    if mean.n == 1:
        return f"{mean.value:.1%}"
    low, high = _share_interval(mean)
    return f"{mean.value:.1%} ({low:.1%} to {high:.1%})"


def _share_interval(mean: Mean) -> tuple[float, float]:
    """The interval of a mean share, within [0, 1].

    The samples are the shares of whole cases, because tokens of one case are not independent.
    """
    low, high = mean.interval
    return max(0.0, low), min(1.0, high)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
