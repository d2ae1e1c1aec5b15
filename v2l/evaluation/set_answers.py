"""sets of images + an adapter for sets ──► how often the right answer about a set is the likeliest.

The answers are those of `v2l make-sets`. common: the shared class among N names. difference: the object among
N names, and whether it was added or removed. story: the order of the classes. Beside it, the same adapter
without guidance between the images, and a baseline without an LLM: the answer whose names are nearest to the
images' vectors, see `embedding_score`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.evaluation.class_naming import class_texts
from v2l.evaluation.journal import LLM, WEIGHTS, Journal, Record, files_metadata, identify_llm
from v2l.evaluation.table import markdown_table
from v2l.image_sets import CHANGES, TASKS, ImageSet
from v2l.images import load_image
from v2l.llm import FrozenLLM
from v2l.metrics import Mean, Proportion
from v2l.pipeline.image_words import vectors_of
from v2l.pipeline.pipeline import Pipeline
from v2l.progress import Progress, silent
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.prompt import Prompt
from v2l.prompts.sets import set_prompt, set_sentence
from v2l.tokenizers.adapters.sets import SetTokenizer
from v2l.tokenizers.needs import require

GUIDED, ALONE, EMBEDDING = "soft tokens, guided", "soft tokens, each image alone", "mean embedding, no LLM"
ORDERS = 24  # orders of a story that are compared at most
QUESTIONS = {
    "common": ("the shared class",),
    "difference": ("the object", "the object and the change"),
    "story": ("the order",),
}


@dataclass(frozen=True)
class Answer:
    """One answer about a set.

    Attributes:
        labels: as `ImageSet.labels`.
        change: as `ImageSet.change`.
    """

    labels: tuple[str, ...]
    change: str = ""


@dataclass(frozen=True)
class AnswerSettings:
    """Which answers are compared.

    Attributes:
        names: N, names to choose from: the right one, and others of the sets, drawn for each set.
        seed: of the drawing.
    """

    names: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.names < 2:
            raise V2LError(f"got {self.names} names to choose from", "2 and more", "--names 20")


@dataclass(frozen=True)
class TaskResult:
    """How often each method was right about the sets of one task.

    Attributes:
        task: a key of `QUESTIONS`.
        right: method ──► question of `QUESTIONS` ──► one truth value for each set.
        chance: question ──► the share that a blind choice gets.
    """

    task: str
    right: Mapping[str, Mapping[str, tuple[bool, ...]]]
    chance: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For reports; `right` can be paired with another adapter's on the same sets."""
        figures = {
            method: {name: share_of(found).to_dict() | {"right": found} for name, found in questions.items()}
            for method, questions in self.right.items()
        }
        return {"methods": figures, "chance": dict(self.chance)}

    def page(self) -> str:
        """For people."""
        sets = len(self.right[EMBEDDING][QUESTIONS[self.task][0]])
        rows = [
            [method, *(str(share_of(found)) for found in questions.values())]
            for method, questions in self.right.items()
        ]
        chance = ["chance", *(f"{value:.1%}" for value in self.chance.values())]
        return markdown_table([f"{self.task}, {sets} sets", *QUESTIONS[self.task]], [*rows, chance])


def share_of(found: Sequence[bool]) -> Proportion:
    """The share of truth values that are true."""
    return Proportion(sum(found), len(found))


def evaluate_sets(
    methods: Methods,
    sets: Sequence[ImageSet],
    settings: AnswerSettings,
    log: Path | None = None,
    progress: Progress = silent,
) -> list[TaskResult]:
    """Answer for all sets, one record for each; a journal continues.

    Args:
        methods: what answers.
        sets: of any tasks.
        settings: the answers to choose from.
        log: a journal; None keeps the records in memory only.
        progress: called after every set.

    Raises:
        V2LError: the tokenizer is none for sets, there are too few names, an image cannot be read, a prompt
            is longer than the LLM's context, or the journal is of another run.
    """
    require(methods.soft.tokenizer, "sets", "answers about sets")
    names = sorted({label for one in sets for label in one.labels})
    if len(names) < settings.names:
        raise V2LError(
            f"the sets have {len(names)} names", f"at least {settings.names}", f"--names {len(names)}"
        )
    texts = dict(zip(names, class_texts(methods.words, names), strict=True))
    facts = {
        "sets": [[one.task, one.labels, one.change] for one in sets],
        "images": files_metadata([file for one in sets for file in one.images]),
        "settings": asdict(settings),
        "stack": methods.soft.identity(),
        WEIGHTS: methods.soft.tokenizer.fingerprint,
        "words": methods.words.tokenizer.describe(),
        LLM: identify_llm(methods.soft),
    }
    journal = Journal.open(log, facts)
    for number in range(len(journal.records), len(sets)):
        answers = answers_about(sets[number], names, settings, Random(f"{settings.seed}/{number}"))
        journal.append(methods.record(sets[number], answers, texts))
        progress("sets", number + 1, len(sets))
    by_task = {task: [one for one in journal.records if one["task"] == task] for task in TASKS}
    return [task_result(task, records) for task, records in by_task.items() if records]


def answers_about(
    one: ImageSet, names: Sequence[str], settings: AnswerSettings, random: Random
) -> list[Answer]:
    """The answers that are compared for one set, in an order drawn by the seed; one of them is right."""
    if one.task == "story":
        answers = [Answer(labels) for labels in orders_of(one.labels, random)]
    else:
        others = random.sample([name for name in names if name != one.labels[0]], settings.names - 1)
        changes = CHANGES if one.task == "difference" else ("",)
        answers = [Answer((name,), change) for name in (one.labels[0], *others) for change in changes]
    return random.sample(answers, len(answers))


def orders_of(labels: tuple[str, ...], random: Random) -> list[tuple[str, ...]]:
    """The order itself, and others: all of a short story, else some that are drawn, `ORDERS` in all."""
    if math.factorial(len(labels)) <= ORDERS:
        return [labels, *sorted(set(permutations(labels)) - {labels})]
    drawn = (tuple(random.sample(labels, len(labels))) for _ in range(4 * ORDERS))
    return list(dict.fromkeys((labels, *drawn)))[:ORDERS]


@dataclass(frozen=True)
class Methods:
    """What answers about sets.

    Attributes:
        soft: an adapter for sets and its LLM.
        words: a tokenizer with a joint encoder, for the baseline.
    """

    soft: Pipeline
    words: Pipeline

    def record(self, one: ImageSet, answers: Sequence[Answer], texts: Mapping[str, Tensor]) -> Record:
        """What each method chooses for one set: whether the names are right, and whether all is."""
        right = {}
        for method, scores in self.scores(one, answers, texts).items():
            best = answers[max(range(len(answers)), key=scores.__getitem__)]
            named = best.labels == one.labels
            right[method] = [named, named and best.change == one.change]
        return {"task": one.task, "answers": len(answers), "right": right}

    @torch.inference_mode()
    def scores(
        self, one: ImageSet, answers: Sequence[Answer], texts: Mapping[str, Tensor]
    ) -> dict[str, list[float]]:
        """Method ──► a score for each answer about one set; texts are the vectors of names."""
        tokenizer = self.soft.tokenizer
        assert isinstance(tokenizer, SetTokenizer)
        features = tokenizer.set_features([load_image(file) for file in one.images])
        scores = {}
        for method, together in ((GUIDED, True), (ALONE, False)):
            if tokenizer.guidance.rounds or not together:  # without rounds both are the same
                soft = tokenizer(features, together)
                scores[method] = sentence_scores(self.soft.llm, soft, one.task, answers)
        vectors = vectors_of(self.words.tokenizer, one.images)[0]
        return scores | {EMBEDDING: [embedding_score(vectors, answer, one.task, texts) for answer in answers]}


def sentence_scores(llm: FrozenLLM, soft: Tensor, task: str, answers: Sequence[Answer]) -> list[float]:
    """For each answer log p(its sentence | soft tokens (n, N, width) of the images)."""
    prompt = set_prompt(task, [Embeddings(image) for image in soft])
    sentences = [Prompt((f" {set_sentence(task, one.labels, one.change)}",)) for one in answers]
    (scores,) = llm.loglikelihood([(prompt, sentences)])
    return [score.total for score in scores]


def embedding_score(vectors: Tensor, answer: Answer, task: str, texts: Mapping[str, Tensor]) -> float:
    """How near the images (n, D) are to the names of an answer, by cosines.

    common: the mean of the images and the name. difference: the last image minus the first one, and the name;
    the negative of it for what was removed. story: each image and its own name, summed.
    """
    names = torch.stack([texts[label] for label in answer.labels])  # (L, D)
    if task == "common":
        return float(vectors.mean(dim=0) @ names[0])
    if task == "difference":
        sign = 1 if answer.change == CHANGES[0] else -1
        return sign * float((vectors[-1] - vectors[0]) @ names[0])
    return float((vectors * names).sum())


def task_result(task: str, records: Sequence[Record]) -> TaskResult:
    """The records of one task ──► the shares of right answers, and chance."""
    questions = QUESTIONS[task]
    right = {
        method: {
            question: tuple(record["right"][method][place] for record in records)
            for place, question in enumerate(questions)
        }
        for method in records[0]["right"]
    }
    blind = Mean.of([1 / record["answers"] for record in records]).value
    shares = (blind * (len(CHANGES) if task == "difference" else 1), blind)
    return TaskResult(task, right, dict(zip(questions, shares, strict=False)))
