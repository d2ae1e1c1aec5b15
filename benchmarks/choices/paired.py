"""two journals of v2l evaluate restoration, same photographs ──► mean paired difference, second minus first.

    python benchmarks/choices/paired.py FIRST.jsonl SECOND.jsonl [--row LLM] [--other LLM]

One line for each task, area and figure: the mean difference with its 95 % interval, and the number of cases.
A difference below 0 is better for the perceptual distance and worse for the other figures.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from v2l.evaluation.restoration.cases import LLM
from v2l.evaluation.restoration.run import FIGURES
from v2l.metrics import Mean

Cases = dict[tuple[str, str], dict]  # (photograph, task) ──► line of the journal


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--row", default=LLM, help="the method of the second journal")
    parser.add_argument("--other", default=LLM, help="the method of the first journal")
    given = parser.parse_args()
    first, second = read(given.first), read(given.second)
    both = [case for case in second if case in first]
    for task in dict.fromkeys(task for _, task in both):
        cases = [case for case in both if case[1] == task]
        pairs = [(first[case]["tokens"], second[case]["tokens"]) for case in cases]
        shares = [
            one[given.row] - other[given.other]
            for other, one in pairs
            if given.row in one and given.other in other
        ]
        print(f"{task}, right tokens: {difference(shares)} (n = {len(shares)})" if shares else task)
        for area in second[cases[0]]["figures"]:
            for name in FIGURES:
                values = [
                    second[case]["figures"][area][given.row][name]
                    - first[case]["figures"][area][given.other][name]
                    for case in cases
                ]
                print(f"  {area}, {name}: {difference(values)} (n = {len(values)})")


def difference(values: list[float]) -> str:
    """The mean with its sign, and its interval."""
    mean = Mean.of(values)
    low, high = mean.interval
    return f"{mean.value:+.4f} ({low:+.4f} to {high:+.4f})"


def read(path: Path) -> Cases:
    """The cases of a journal by photograph and task."""
    records = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[1:])
    return {(record["file"], record["task"]): record for record in records if "error" not in record}


if __name__ == "__main__":
    main()
