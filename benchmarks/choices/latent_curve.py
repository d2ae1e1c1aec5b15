"""the log of a run of `v2l train-titok` ──► the error of the features at each length, by the step.

    python benchmarks/choices/latent_curve.py DIR -o docs/figures/titok-training.png

A point is the mean of the batches of its length up to the next point.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from v2l.chart import Panel, Series, draw_chart
from v2l.images import save_image

EVERY = 90  # steps between two points
TERM = "features_"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/figures/titok-training.png"))
    given = parser.parse_args()
    found: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    with (given.run / "log.csv").open() as file:
        for row in csv.DictReader(file):
            if row["term"].startswith(TERM):
                point = EVERY * (int(row["step"]) // EVERY) + EVERY // 2
                found[int(row["term"].removeprefix(TERM))][point].append(float(row["value"]))
    series = [
        Series(
            f"{length} words", tuple((step, fmean(values), 0.0) for step, values in sorted(points.items()))
        )
        for length, points in sorted(found.items())
    ]
    title = "squared error of the features, relative to their variance (less is better)"
    save_image(draw_chart([Panel(title, "optimizer steps of stage one", tuple(series))]), given.output)


if __name__ == "__main__":
    main()
