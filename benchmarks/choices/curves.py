"""logs of training runs, each of which continues the one before ──► one picture of their curves.

It is the picture of the model card.

    python benchmarks/choices/curves.py RUN [RUN …] -o docs/curves.png

It needs matplotlib, which v2l itself does not need.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

from matplotlib import pyplot

TERMS = ("l1", "l2", "perceptual", "codes", "learning_rate")
Curve = tuple[list[int], list[float]]
AVERAGED_VALUES = 10  # logged values in one average, each of one batch


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--output", "-o", type=Path, default=Path("curves.png"))
    given = parser.parse_args()
    figure, axes = pyplot.subplots(1, len(TERMS), figsize=(3.2 * len(TERMS), 2.8), layout="constrained")
    before = 0
    for run in given.runs:
        curves = read(run / "log.csv")
        for axis, term in zip(axes, TERMS, strict=True):
            steps, values = curves.get(term, ([], []))
            places = [before + step for step in steps]
            (line,) = axis.plot(places, values, alpha=0.25)
            axis.plot(places, values if term == "learning_rate" else averaged(values), color=line.get_color())
            axis.set_title(term.replace("_", " "))
            axis.set_xlabel("steps")
        before += max(step for steps, _ in curves.values() for step in steps)
    for axis in axes:
        axis.grid(alpha=0.3)
    figure.savefig(given.output, dpi=110)


def read(log: Path) -> dict[str, Curve]:
    """The curve of every term; a step that was logged twice has its last value."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    with log.open() as file:
        for row in csv.DictReader(file):
            found[row["term"]][int(row["step"])] = float(row["value"])
    return {term: (list(values), list(values.values())) for term, values in found.items()}


def averaged(values: list[float]) -> list[float]:
    """The mean of each value and of those shortly before it."""
    parts = [values[max(0, place + 1 - AVERAGED_VALUES) : place + 1] for place in range(len(values))]
    return [sum(part) / len(part) for part in parts]


if __name__ == "__main__":
    main()
