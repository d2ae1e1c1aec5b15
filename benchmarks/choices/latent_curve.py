"""the log of a run of `v2l train-titok` ──► PSNR at each length on images that are not trained on, by the step.

python benchmarks/choices/latent_curve.py DIR -o docs/figures/titok-training.png
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

from v2l.chart import Panel, Series, draw_chart
from v2l.images import save_image

TERM = "validation/psnr_"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/figures/titok-training.png"))
    given = parser.parse_args()
    found: dict[int, list[tuple[float, float, float]]] = defaultdict(list)
    with (given.run / "log.csv").open() as file:
        for row in csv.DictReader(file):
            if row["term"].startswith(TERM):
                point = (float(row["step"]), float(row["value"]), 0.0)
                found[int(row["term"].removeprefix(TERM))].append(point)
    series = [Series(f"{length} words", tuple(points)) for length, points in sorted(found.items())]
    title = "PSNR of 64 images that are not trained on, dB (more is better)"
    save_image(draw_chart([Panel(title, "optimizer steps", tuple(series))]), given.output)


if __name__ == "__main__":
    main()
