"""v2l evaluate fewshot: lists of a grid as a user types them, and the table."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from v2l.cli.evaluate.fewshot import answers
from v2l.cli.evaluate.options import numbers
from v2l.errors import V2LError

Run = Callable[..., Result]


def test_lists_are_numbers_with_commas() -> None:
    assert numbers("--ways", "2, 5,2", 2) == (2, 5)
    assert numbers("--repeats", "0", 0) == (0,)
    assert answers("no,yes") == (False, True)


@pytest.mark.parametrize("text", ["", "2,", "two", "1", "2.5", "-3"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(V2LError, match="--ways"):
        numbers("--ways", text, 2)


def test_a_description_is_there_or_not() -> None:
    with pytest.raises(V2LError, match="no, yes or no,yes"):
        answers("perhaps")


@pytest.mark.embedded
def test_a_small_grid_is_measured_and_goes_on(run: Run, samples: Path, tmp_path: Path) -> None:
    grid = (
        "--ways",
        "2",
        "--shots",
        "1",
        "--repeats",
        "0",
        "--description",
        "no",
        "--words",
        "3",
        "--episodes",
        2,
        "--log",
        tmp_path / "log",
    )
    report = json.loads(run("evaluate", "fewshot", samples, *grid, "--json").stdout)
    (cell,) = report["cells"]
    assert (cell["n_ways"], cell["k_shots"], cell["n_words"], cell["n"]) == (2, 1, 3, 2)
    assert "zero-shot" in cell["baselines"]
    assert len((tmp_path / "log").read_text().splitlines()) == 3
    text = run("evaluate", "fewshot", samples, *grid).stdout
    assert "| 2-way 1-shot, 0 repeats, no description, 3 words |" in text
