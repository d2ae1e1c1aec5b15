"""sets of images + an adapter for sets ──► how often the right answer about a set is the likeliest.

The answers are those of `v2l make-sets`. common: the shared class among N names. difference: the object among
N names, and whether it was added or removed. story: the order of the classes. Beside it, the same adapter
without guidance between the images, and a baseline without an LLM: the answer whose names are nearest to the
images' vectors, see `embedding_score`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from random import Random
from typing import Any

import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.evaluation.class_naming import class_texts
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
    soft: Pipeline,
    words: Pipeline,
    sets: Sequence[ImageSet],
    settings: AnswerSettings,
    progress: Progress = silent,
) -> list[TaskResult]:
    """Answer for all sets, task by task.

    Args:
        soft: an adapter for sets and its LLM.
        words: a tokenizer with a joint encoder, for the baseline.
        sets: of any tasks.
        settings: the answers to choose from.
        progress: called after every set.

    Raises:
        V2LError: the tokenizer is none for sets, there are too few names, an image cannot be read, or a
            prompt is longer than the LLM's context.
    """
    require(soft.tokenizer, "sets", "answers about sets")
    names = sorted({label for one in sets for label in one.labels})
    if len(names) < settings.names:
        raise V2LError(
            f"the sets have {len(names)} names", f"at least {settings.names}", f"--names {len(names)}"
        )
    texts = dict(zip(names, class_texts(words, names), strict=True))
    results, done = [], 0
    for task in TASKS:
        chosen: dict[str, list[Answer]] = {}
        group = [(number, one) for number, one in enumerate(sets) if one.task == task]
        offered = []
        for number, one in group:
            answers = answers_about(one, names, settings, Random(f"{settings.seed}/{number}"))
            for method, scores in scores_by_method(soft, words, one, answers, texts).items():
                best = max(range(len(answers)), key=scores.__getitem__)
                chosen.setdefault(method, []).append(answers[best])
            offered.append(answers)
            done += 1
            progress("sets", done, len(sets))
        if group:
            results.append(summarize(task, [one for _, one in group], offered, chosen))
    return results


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
    """The order itself, and others: all of a short story, else so many that there are `ORDERS`, drawn."""
    if math.factorial(len(labels)) <= ORDERS:
        return [labels, *sorted(set(permutations(labels)) - {labels})]
    orders = {labels: None}
    while len(orders) < ORDERS:
        orders.setdefault(tuple(random.sample(labels, len(labels))))
    return list(orders)


def scores_by_method(
    soft: Pipeline, words: Pipeline, one: ImageSet, answers: Sequence[Answer], texts: Mapping[str, Tensor]
) -> dict[str, list[float]]:
    """Method ──► a score for each answer about one set."""
    tokenizer = soft.tokenizer
    assert isinstance(tokenizer, SetTokenizer)
    vectors = vectors_of(words.tokenizer, one.images)[0]
    own, images = tokenizer.guidance, [load_image(file) for file in one.images]
    scores = {}
    for method, rounds in ((GUIDED, own.rounds), (ALONE, 0)):
        if method == GUIDED and not rounds:
            continue  # this adapter reads each image alone
        tokenizer.guide(replace(own, rounds=rounds))
        scores[method] = sentence_scores(soft.llm, tokenizer.encode_set(images), one.task, answers)
    tokenizer.guide(own)
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


def summarize(
    task: str,
    sets: Sequence[ImageSet],
    offered: Sequence[Sequence[Answer]],
    chosen: Mapping[str, Sequence[Answer]],
) -> TaskResult:
    """The sets of one task, the answers that each had to choose from, and what each method chose."""
    questions = QUESTIONS[task]
    right: dict[str, dict[str, tuple[bool, ...]]] = {}
    for method, answers in chosen.items():
        named = tuple(answer.labels == one.labels for answer, one in zip(answers, sets, strict=True))
        exact = tuple(
            ok and answer.change == one.change for ok, answer, one in zip(named, answers, sets, strict=True)
        )
        right[method] = dict(zip(questions, (named, exact), strict=False))
    blind = Mean.of([1 / len(answers) for answers in offered]).value
    shares = (blind * (len(CHANGES) if task == "difference" else 1), blind)
    return TaskResult(task, right, dict(zip(questions, shares, strict=False)))
