"""settings of few-shot classification ──► the accuracy of each, alone and together, on the same episodes.

    python benchmarks/fewshot_settings.py FOLDER [--part eval] [--half a] [--ways 5] [--shots 1] [--episodes
    100] [--seed 1] [--log FILE]

This makes the table of docs/fewshot.md. Settings are chosen with some seeds on half a of the classes (by a
hash of their names). Results are reported with seed 0 on half b or on all classes. `--only TEXT` measures the
settings whose names contain the text. A stopped run continues with its log.
"""

from __future__ import annotations

import argparse
import hashlib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from v2l.datasets import ClassFolder, draw_episodes
from v2l.evaluation.fewshot import percent
from v2l.evaluation.journal import LLM, WEIGHTS, Journal, identify_llm
from v2l.evaluation.table import markdown_table
from v2l.metrics import Proportion
from v2l.pipeline.image_words import read_image_words
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.classification.fewshot import PROTOCOLS, Method, classify_episode, image_paths

DEFAULT = PROTOCOLS["default"]


def changed(
    method: Method,
    how: str | None = None,
    count: int | None = None,
    format: dict[str, Any] | None = None,
    **rest: Any,
) -> Method:
    """A method with single settings changed."""
    words = replace(method.words, how=how or method.words.how, count=count or method.words.count)
    return replace(method, words=words, format=replace(method.format, **(format or {})), **rest)


PLAIN = changed(DEFAULT, "nearest", 8, {"nearest_last": False}, rule="loglikelihood")
ALONE = {
    "label log-likelihood, 8 nearest words": {},
    "per token": {"per_token": True},
    "the paper's prompt": {"format": {"wording": "paper"}},
    "the paper's prompt and description": {"format": {"wording": "paper", "induction": True}},
    "description": {"format": {"induction": True}},
    "words without commas": {"format": {"separator": " "}},
    "nearest word last": {"format": {"nearest_last": True}},
    "lower case": {"format": {"lower": True}},
    "labels with underscores": {"format": {"label_spaces": False}},
    "support repeated": {"format": {"repeats": 1}},
    "2 orders": {"orders": 2},
    "4 orders": {"orders": 4},
    "21 words": {"count": 21},
    "words together": {"how": "together"},
    "21 words together": {"how": "together", "count": 21},
    "calibrated": {"rule": "calibrated"},
    "channel": {"rule": "channel"},
    "channel, examples alone": {"rule": "alone"},
    "contrast": {"rule": "contrast"},
    "both directions": {"rule": "both"},
}
TOGETHER = {
    "default": {},
    "less the words' direction": {"rule": "rounds"},
    "less the words' direction, examples in one list": {"rule": "loglikelihood"},
    "less the label's direction": {"rule": "alone"},
    "less the label's direction, over a background": {"rule": "contrast"},
    "with 5 words": {"count": 5},
    "with 12 words": {"count": 12},
    "with 8 nearest words": {"how": "nearest", "count": 8},
    "with 21 nearest words": {"how": "nearest"},
    "with 2 orders": {"orders": 2},
    "with 4 orders": {"orders": 4},
    "without commas": {"format": {"separator": " "}},
    "with the nearest word first": {"format": {"nearest_last": False}},
    "with lower case": {"format": {"lower": True}},
    "with underscores": {"format": {"label_spaces": False}},
    "with a description": {"format": {"induction": True}},
    "with the paper's marks": {"format": {"wording": "paper"}},
}
PRESETS = {
    "paper's protocol": PROTOCOLS["paper"],
    "paper's protocol, constrained": replace(PROTOCOLS["paper"], rule="constrained"),
    **{f"alone: {name}": changed(PLAIN, **change) for name, change in ALONE.items()},
    **{f"together: {name}": changed(DEFAULT, **change) for name, change in TOGETHER.items()},
}
BASELINES = ("prototype", "shared words")


def half(name: str) -> str:
    """The half of a class, which does not depend on the other classes."""
    return "ab"[int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", default="all")
    parser.add_argument("--half", choices=("a", "b", "all"), default="a")
    parser.add_argument("--ways", type=int, default=5)
    parser.add_argument("--shots", type=int, default=1)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--checkpoint", default=None)
    parser.add_argument("--log", type=Path, default=None)
    given = parser.parse_args()
    folder = ClassFolder.load(given.folder, given.part)
    folder = folder.only(name for name in folder.classes if given.half in ("all", half(name)))
    episodes = draw_episodes(folder, given.ways, given.shots, given.episodes, given.seed)
    pipeline = Pipeline.load(given.checkpoint)
    drawn = (given.folder.name, given.part, given.half, given.ways, given.shots, given.episodes, given.seed)
    metadata = {
        "asked": drawn,
        "stack": pipeline.identity(),
        WEIGHTS: pipeline.tokenizer.fingerprint,
        LLM: identify_llm(pipeline),
    }
    journal = Journal.open(given.log, metadata)
    done = {(record["setting"], record["method"]): record for record in journal.records}
    paths = image_paths(episodes)
    rows = []
    for name, method in PRESETS.items():
        if given.only and not any(text in name for text in given.only):
            continue
        key = (name, str(asdict(method)))
        if key not in done:
            images = read_image_words(pipeline.tokenizer, paths, method.words)
            predictions = [classify_episode(pipeline.llm, episode, images, method) for episode in episodes]
            right = {
                of: sum(prediction.baselines[of] == prediction.truth for prediction in predictions)
                for of in BASELINES
            }
            done[key] = {
                "setting": name,
                "method": key[1],
                "right": sum(bool(prediction.right) for prediction in predictions),
                **right,
            }
            journal.append(done[key])
        counts = [done[key][of] for of in ("right", *BASELINES)]
        rows.append([name, *(percent(Proportion(count, given.episodes)) for count in counts)])
        print(f"{name}: {rows[-1][1]}", flush=True)
    shape = f"{given.ways}-way {given.shots}-shot, {given.episodes} episodes, seed {given.seed}"
    print(
        f"\n{given.folder.name}, part {given.part}, half {given.half}: {shape}; {pipeline.llm.name}; "
        "per cent with 95 % intervals\n"
    )
    print(markdown_table(["setting", "right", *BASELINES], rows))


if __name__ == "__main__":
    main()
