"""adapters of several seeds, trained in two ways ──► what each names, and the paired difference, second minus first.

    python benchmarks/choices/naming_seeds.py caltech101 --first DIR DIR DIR --second DIR DIR DIR [--per-class 5]

Soft tokens alone, on the images of `v2l evaluate naming`; all adapters were trained on the same classes. The n-th
adapters of both lists share a seed. With --second-folder the second ones read the same images in another form. The
interval of the difference is over images, each the mean over its seeds; how the seeds differ is what the rows show.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from v2l.evaluation.class_naming import ChoiceSettings, ChoiceTask, draw_tasks, share_readable
from v2l.evaluation.table import markdown_table
from v2l.llm import FrozenLLM
from v2l.metrics import GroupedShare, Mean, Proportion
from v2l.pipeline.image_words import WordSelection, read_image_words
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.classification.fewshot import soft_of
from v2l.tasks.classification.soft_labels import score_names
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.loading import load_tokenizer

N_WORDS = 5


@dataclass(frozen=True)
class Named:
    """What one adapter names.

    Attributes:
        right: one truth value for each image.
        readable: the share of soft tokens whose word is a name of the class, or its head noun.
    """

    right: list[bool]
    readable: GroupedShare | None

    def __str__(self) -> str:
        return f"{Proportion(sum(self.right), len(self.right))}; readable {self.readable}"


def name(tokenizer: ImageTokenizer, llm: FrozenLLM, task: ChoiceTask) -> Named:
    """Choose the likeliest of the names for each image."""
    paths, truth = [path for path, _ in task.images], [label for _, label in task.images]
    read = read_image_words(tokenizer, paths, WordSelection(N_WORDS))
    scores = score_names(llm, [soft_of(read[path]) for path in paths], task.classes)
    right = [max(one, key=one.__getitem__) == label for one, label in zip(scores, truth, strict=True)]
    return Named(right, share_readable([read[path].words for path in paths], truth))


def difference(first: Sequence[Named], second: Sequence[Named]) -> str:
    """The mean difference of images, in points, with its interval."""
    pairs = [
        [after - before for before, after in zip(one.right, other.right, strict=True)]
        for one, other in zip(first, second, strict=True)
    ]
    mean = Mean.of([100 * fmean(image) for image in zip(*pairs, strict=True)])
    low, high = mean.interval
    return f"{mean.value:+.1f} points ({low:+.1f} to {high:+.1f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", nargs="+", required=True)
    parser.add_argument("--second", nargs="+", required=True)
    parser.add_argument("--second-folder", type=Path, help="the same files, for the second adapters")
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--per-class", type=int, default=5)
    given = parser.parse_args()
    first, second = (
        [load_tokenizer(folder, "cpu") for folder in folders] for folders in (given.first, given.second)
    )
    classes = {tuple(one.facts["classes"]) for one in (*first, *second)}
    if len(classes) > 1 or len({one.vocabulary for one in (*first, *second)}) > 1:
        parser.error("the adapters were trained on different classes, or for different LLMs")
    llm = Pipeline.load(given.first[0], device="cpu").llm
    settings = ChoiceSettings(given.classes, given.per_class)
    tasks, others = (
        draw_tasks(folder, first[0].facts["classes"], settings)
        for folder in (given.folder, given.second_folder or given.folder)
    )
    for task, other in zip(tasks, others, strict=True):
        assert [path.name for path, _ in task.images] == [path.name for path, _ in other.images]
        found = [
            [name(one, llm, images) for one in some] for some, images in ((first, task), (second, other))
        ]
        seeds = [str(one.facts["seed"]) for one in first]
        rows = [[seed, *map(str, row)] for seed, row in zip(seeds, zip(*found, strict=True), strict=True)]
        print(markdown_table([f"{task.title}, n = {len(task.images)}; seed", "first", "second"], rows))
        print(f"second minus first: {difference(*found)}\n", flush=True)


if __name__ == "__main__":
    main()
