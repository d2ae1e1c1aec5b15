"""two journals of v2l evaluate restoration ──► the mean difference, second minus first, scene by scene.

    python benchmarks/choices/paired.py FIRST.jsonl SECOND.jsonl [--row LLM] [--other LLM]

Both journals are over the same photographs. Each line has a task, an area, a metric, the mean difference with
its 95 % interval, and the number of scenes. A negative difference is better for the perceptual distance, and
worse for the other metrics.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from v2l.evaluation.restoration.cases import LLM
from v2l.evaluation.restoration.run import FIGURES
from v2l.metrics import Mean

Scenes = dict[tuple[str, str], dict]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--row", default=LLM, help="the contestant of the second journal")
    parser.add_argument("--other", default=LLM, help="the contestant of the first journal")
    given = parser.parse_args()
    first, second = read(given.first), read(given.second)
    both = [scene for scene in second if scene in first]
    for task in dict.fromkeys(task for _, task in both):
        scenes = [scene for scene in both if scene[1] == task]
        pairs = [(first[scene]["tokens"], second[scene]["tokens"]) for scene in scenes]
        shares = [
            one[given.row] - other[given.other]
            for other, one in pairs
            if given.row in one and given.other in other
        ]
        print(f"{task}, right tokens: {difference(shares)} (n = {len(shares)})" if shares else task)
        for area in second[scenes[0]]["figures"]:
            for name in FIGURES:
                values = [
                    second[scene]["figures"][area][given.row][name]
                    - first[scene]["figures"][area][given.other][name]
                    for scene in scenes
                ]
                print(f"  {area}, {name}: {difference(values)} (n = {len(values)})")


def difference(values: list[float]) -> str:
    """The mean with its sign, and its interval."""
    mean = Mean.of(values)
    low, high = mean.interval
    return f"{mean.value:+.4f} ({low:+.4f} to {high:+.4f})"


def read(path: Path) -> Scenes:
    """The scenes of a journal by photograph and task."""
    records = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:])
    return {(record["file"], record["task"]): record for record in records if "error" not in record}


if __name__ == "__main__":
    main()
