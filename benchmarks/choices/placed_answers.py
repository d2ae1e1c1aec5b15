"""claim: what words with a place answer, beside as many words of the whole image.

python benchmarks/choices/placed_answers.py FOLDER [--part eval] [--tokenizers slices,groma,setok]
    [--episodes 60] [--questions 120] [--seed 0] [--log FILE.jsonl]

FOLDER has one folder a class. Two tasks: 2-way 1-shot classification, and "what is it, of four?". Three sorts of
words, equally many for each image: the nearest words of the whole image (the bag); the words of its parts; the
same with their places, as prompts write them. Differences are paired, by episode or question. A stopped run
goes on with its log.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from v2l.datasets import ClassFolder, Episode, draw_episodes
from v2l.evaluation.journal import LLM, WEIGHTS, Journal, Record, files_metadata, identify_llm
from v2l.evaluation.questions import WhichQuestion, which_questions
from v2l.evaluation.table import markdown_table
from v2l.llm import FrozenLLM
from v2l.metrics import Mean, Proportion
from v2l.pipeline.image_words import ImageWords, WordSelection, read_image_words
from v2l.pipeline.pipeline import Pipeline
from v2l.sources import ImageFile
from v2l.tasks.classification.fewshot import Method, classify_episode, image_paths
from v2l.tasks.description.choices import Choice, score_answers
from v2l.tokenizers.loading import load_tokenizer

FEWSHOT, WHICH = "2-way 1-shot", "what is it, of four"
BAG, PARTS, PLACES = "the bag", "words of parts", "words with places"
MOST = 21  # words of an image
Images = Mapping[Path, ImageWords]


def arms(bag: Pipeline, tokenizer: str, paths: Sequence[Path]) -> dict[str, Images]:
    """The images three times, with equally many words each."""
    placed = read_image_words(load_tokenizer(tokenizer, "cpu"), paths, WordSelection(MOST))
    nearest = read_image_words(bag.tokenizer, paths, WordSelection(MOST, "nearest"))
    counted = {
        path: replace(image, words=image.words[: len(placed[path].words)]) for path, image in nearest.items()
    }
    parts = {path: replace(counted[path], words=image.words) for path, image in placed.items()}
    places = {path: replace(counted[path], words=image.prompt_words) for path, image in placed.items()}
    return {BAG: counted, PARTS: parts, PLACES: places}


@dataclass(frozen=True)
class Tasks:
    """What is asked about the images.

    Attributes:
        llm: the frozen LLM.
        episodes: of few-shot classification.
        questions: with four answers each.
    """

    llm: FrozenLLM
    episodes: Sequence[Episode]
    questions: Sequence[WhichQuestion]

    @property
    def paths(self) -> list[Path]:
        """All images."""
        return [*image_paths(self.episodes), *(Path(str(one.file)) for one in self.questions)]

    def answer(self, task: str, images: Images) -> list[bool]:
        """Whether each episode or question is answered right."""
        if task == FEWSHOT:
            found = [classify_episode(self.llm, episode, images, Method()) for episode in self.episodes]
            return [bool(one.right) for one in found]
        choices = [Choice(images[Path(str(one.file))].words, one.answers) for one in self.questions]
        scores = score_answers(self.llm, choices)
        return [
            max(of, key=of.__getitem__) == one.answers[one.right]
            for of, one in zip(scores, self.questions, strict=True)
        ]


def row(tokenizer: str, task: str, records: Sequence[Record]) -> list[str]:
    """One line of the table: the share of each arm, and both others minus the bag."""
    right = {
        one["arm"]: one["right"] for one in records if (one["tokenizer"], one["task"]) == (tokenizer, task)
    }
    words = next(one["words"] for one in records if one["tokenizer"] == tokenizer)
    gains = [
        Mean.of([100.0 * (own - bag) for own, bag in zip(right[arm], right[BAG], strict=True)])
        for arm in (PARTS, PLACES)
    ]
    shares = [str(Proportion(sum(right[arm]), len(right[arm]))) for arm in (BAG, PARTS, PLACES)]
    return [task, tokenizer, f"{words:.1f}", *shares, *map(points, gains)]


def points(gain: Mean) -> str:
    """A difference in percentage points with its interval."""
    low, high = gain.interval
    return f"{gain.value:+.1f} ({low:+.1f} to {high:+.1f})"


def main() -> None:
    """Read the arguments, answer, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", default="eval")
    parser.add_argument("--tokenizers", default="slices,groma,setok")
    parser.add_argument("--episodes", type=int, default=60)
    parser.add_argument("--questions", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path)
    given = parser.parse_args()
    folder = ClassFolder.load(given.folder, given.part)
    episodes = draw_episodes(folder, 2, 1, given.episodes, given.seed)
    files = [file for some in folder.classes.values() for file in some]
    questions = which_questions(files, given.seed, given.questions)
    bag, names = Pipeline.load(), given.tokenizers.split(",")
    tasks = Tasks(bag.llm, episodes, questions)
    asked = [given.folder.name, given.part, given.episodes, given.questions, given.seed]
    journal = Journal.open(given.log, {"asked": asked, **facts(bag, names, files)})
    for name in names:
        measure(bag, name, tasks, journal)
    gains = [f"{arm} minus {BAG}, points" for arm in (PARTS, PLACES)]
    rows = [row(name, task, journal.records) for task in (FEWSHOT, WHICH) for name in names]
    print(markdown_table(["task", "tokenizer", "words", BAG, PARTS, PLACES, *gains], rows))


def facts(bag: Pipeline, names: Sequence[str], files: Sequence[ImageFile]) -> Record:
    """What must be equal when a log continues, beside the arguments: the models and the images."""
    weights = {name: load_tokenizer(name, "cpu").fingerprint for name in names}
    return {
        "stack": bag.identity(),
        WEIGHTS: weights | {BAG: bag.tokenizer.fingerprint},
        LLM: identify_llm(bag),
        "images": files_metadata(files),
    }


def measure(bag: Pipeline, name: str, tasks: Tasks, journal: Journal) -> None:
    """Answer all tasks with the words of one tokenizer, and with the bag; what the journal has is not repeated."""
    done = {(one["task"], one["arm"]) for one in journal.records if one["tokenizer"] == name}
    if len(done) == len((FEWSHOT, WHICH)) * len((BAG, PARTS, PLACES)):
        return
    for arm, images in arms(bag, name, tasks.paths).items():
        words = Mean.of([float(len(image.words)) for image in images.values()]).value
        for task in (FEWSHOT, WHICH):
            if (task, arm) not in done:
                right = tasks.answer(task, images)
                journal.append({"tokenizer": name, "task": task, "arm": arm, "words": words, "right": right})


if __name__ == "__main__":
    main()
