"""Batches that workers measure in any order give the figures of one process."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from v2l.cli.app import app
from v2l.engines.engine import Engine
from v2l.engines.work import Event
from v2l.errors import V2LError
from v2l.evaluation.reconstruction import Batch, ReconstructionSettings
from v2l.evaluation.reconstruction_workers import ReconstructionWorkers


@dataclass(frozen=True)
class FixedEngine(Engine):
    """Events in a fixed order."""

    events: tuple[Event, ...] = ()

    def run(self, work: Any, items: Sequence[Any]) -> Iterator[Event]:
        return iter(self.events)


def batch(number: int) -> Event:
    return "result", (number, Batch({"files": [str(number)]}, {}))


def test_batches_come_in_their_order() -> None:
    events = (batch(4), ("images", 16), batch(2), batch(3), batch(5))
    workers = ReconstructionWorkers(FixedEngine(events=events))
    measured = workers.measure([], range(2, 6), ReconstructionSettings())
    assert [found.record["files"] for found in measured] == [["2"], ["3"], ["4"], ["5"]]


def test_a_batch_that_kills_all_workers_ends_the_evaluation_after_those_before_it() -> None:
    workers = ReconstructionWorkers(FixedEngine(events=(batch(0), ("lost", 1), batch(2))))
    measured = workers.measure([], range(3), ReconstructionSettings())
    assert next(measured).record["files"] == ["0"]
    with pytest.raises(V2LError, match="workers died again and again over the photographs from number 17 on"):
        next(measured)


def leaves(value: Any, name: str = "") -> dict[str, Any]:
    """The numbers and texts of nested JSON by their place."""
    if isinstance(value, dict | list):
        inner = value.items() if isinstance(value, dict) else enumerate(value)
        return {key: leaf for part, deeper in inner for key, leaf in leaves(deeper, f"{name}/{part}").items()}
    return {name: value}


@pytest.mark.embedded
def test_two_processes_report_what_one_reports(samples: Path) -> None:
    command = ["evaluate", "reconstruction", str(samples), "--limit", "18", "--device", "cpu", "--json"]
    alone = CliRunner().invoke(app, command)
    shared = CliRunner().invoke(app, [*command, "--workers", "2"])
    assert (alone.exit_code, shared.exit_code) == (0, 0)
    one, two = leaves(json.loads(alone.stdout)), leaves(json.loads(shared.stdout))
    assert one.keys() == two.keys()
    assert {name: two[name] for name in one if isinstance(one[name], str)} == {
        name: value for name, value in one.items() if isinstance(value, str)
    }
    numbers = {name: value for name, value in one.items() if isinstance(value, float | int)}
    assert {name: two[name] for name in numbers} == pytest.approx(numbers, rel=1e-3)
