"""adapters for sets of several seeds, trained in two ways ──► how often each is right, and the paired difference.

    v2l evaluate sets FOLDER --tokenizer DIR/model --json > one.json
    python benchmarks/choices/sets_seeds.py --first one.json … --second other.json …

The n-th files of both lists share a seed. The interval of the difference, second minus first, is over sets, each the
mean over its seeds; how the seeds differ is what the rows show.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from v2l.evaluation.set_answers import ALONE, EMBEDDING, GUIDED
from v2l.evaluation.table import markdown_table
from v2l.metrics import Mean, Proportion


def answers(record: dict[str, Any], task: str) -> dict[str, list[bool]]:
    """Question ──► one truth value for each set, of the adapter as it was trained."""
    methods = record["tasks"][task]["methods"]
    best = methods.get(GUIDED, methods[ALONE])
    return {question: found["right"] for question, found in best.items()}


def asked(record: dict[str, Any]) -> dict[str, Any]:
    """What an evaluation asked; the baseline's answers depend on nothing else, so they stand for the sets."""
    baseline = {name: task["methods"][EMBEDDING] for name, task in record["tasks"].items()}
    return {"settings": record["settings"], "baseline": baseline}


def share(right: Sequence[bool]) -> str:
    """With its interval."""
    return str(Proportion(sum(right), len(right)))


def gain(before: Sequence[Sequence[bool]], after: Sequence[Sequence[bool]]) -> str:
    """How many more sets are right in the second runs than in the first, in points, run by run."""
    changes = [
        [two - one for one, two in zip(first, second, strict=True)]
        for first, second in zip(before, after, strict=True)
    ]
    mean = Mean.of([100 * fmean(one) for one in zip(*changes, strict=True)])
    low, high = mean.interval
    return f"{mean.value:+.1f} points ({low:+.1f} to {high:+.1f})"


def question_page(title: str, runs: Sequence[Sequence[Sequence[bool]]], baseline: Sequence[bool]) -> str:
    """The shares of each run of both kinds, and what one kind gains over the other and over a baseline."""
    first, second = runs
    rows = [
        [str(number), share(one), share(two)]
        for number, (one, two) in enumerate(zip(first, second, strict=True))
    ]
    same = [baseline] * len(first)
    gains = {
        "second minus first": gain(first, second),
        f"first minus {EMBEDDING}": gain(same, first),
        f"second minus {EMBEDDING}": gain(same, second),
    }
    table = markdown_table([f"{title}; run", "first", "second"], rows)
    return "\n".join([table, *(f"{name}: {value}" for name, value in gains.items())])


def page(first: Sequence[dict[str, Any]], second: Sequence[dict[str, Any]], task: str) -> str:
    """All questions of one task."""
    runs = [[answers(one, task) for one in some] for some in (first, second)]
    baseline = first[0]["tasks"][task]["methods"][EMBEDDING]
    return "\n\n".join(
        question_page(
            f"{task}: {question}", [[run[question] for run in some] for some in runs], found["right"]
        )
        for question, found in baseline.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--first", nargs="+", type=Path, required=True)
    parser.add_argument("--second", nargs="+", type=Path, required=True)
    given = parser.parse_args()
    first, second = (
        [json.loads(file.read_text()) for file in files] for files in (given.first, given.second)
    )
    if len(first) != len(second) or any(asked(one) != asked(first[0]) for one in (*first, *second)):
        parser.error("the files differ in number, in their sets, or in the names to choose from")
    print("\n\n".join(page(first, second, task) for task in first[0]["tasks"]))


if __name__ == "__main__":
    main()
