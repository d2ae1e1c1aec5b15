"""images of N classes ──► how often each way of naming them chooses the right class.

The adapter's answer is the class whose naming sentence ("A photo of a beaver.") is the likeliest behind the
soft tokens. Beside it, on the same images: the same sentences behind the words of the image, the choice of
`v2l vqa` from these words (noisy channel and kind), and two baselines without an LLM: the class whose name in
a sentence is nearest to the image, and the class whose mean vector over training images is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from v2l.codebook.variety import family
from v2l.datasets import ClassFolder
from v2l.errors import V2LError
from v2l.evaluation.class_names import ClassNames
from v2l.evaluation.table import markdown_table
from v2l.metrics import GroupedShare, Proportion
from v2l.pipeline.image_words import WordSelection, read_image_words
from v2l.pipeline.pipeline import Pipeline
from v2l.progress import Progress, silent
from v2l.tasks.classification.fewshot import soft_of
from v2l.tasks.classification.soft_labels import score_names
from v2l.tasks.description.choices import Choice, score_answers

SOFT = "soft tokens, log-likelihood"
WORDS_SENTENCE = "words in the same prompt"
WORDS_CHOICE = "words, noisy channel and kind (v2l vqa)"
CLASS_TEXT = "nearest class-name text, no LLM"
PROTOTYPE = "nearest prototype, no LLM"
N_WORDS = 5
PROTOTYPE_IMAGES = 10  # training images of a class


@dataclass(frozen=True)
class ChoiceSettings:
    """Which images are named, and among how many classes.

    Attributes:
        classes: N; as many are drawn from the classes of the folder.
        per_class: images of a class at most, drawn by the seed.
        seed: of the classes and the images.
    """

    classes: int = 20
    per_class: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.classes < 2 or self.per_class < 1:
            raise V2LError(
                f"got {self.classes} classes and {self.per_class} images of each",
                "2 classes, 1 image and more",
            )


@dataclass(frozen=True)
class ChoiceTask:
    """Images to be named.

    Attributes:
        title: what the classes have in common, "classes of the training" say.
        images: each with the name of its class.
        prototypes: training images of each class.
    """

    title: str
    images: tuple[tuple[Path, str], ...]
    prototypes: Mapping[str, tuple[Path, ...]]

    @property
    def classes(self) -> list[str]:
        """The names to choose from, sorted."""
        return sorted(self.prototypes)


@dataclass(frozen=True)
class ChoiceResult:
    """How often each method was right on one task.

    Attributes:
        task: the images.
        right: method ──► one truth value for each image.
        readable: the share of soft tokens whose word is a name of the class, or its head noun, in groups of
            one image; None without an adapter, or if its soft tokens have no words.
    """

    task: ChoiceTask
    right: Mapping[str, tuple[bool, ...]]
    readable: GroupedShare | None = None

    def shares(self) -> dict[str, Proportion]:
        """Method ──► the share of images that it names."""
        return {name: Proportion(sum(found), len(found)) for name, found in self.right.items()}

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        return {
            "classes": self.task.classes,
            "n": len(self.task.images),
            "chance": 1 / len(self.task.classes),
            "methods": {name: share.to_dict() for name, share in self.shares().items()},
            "readable": (
                None if self.readable is None else self.readable.to_dict() | {"soft_tokens": self.readable.n}
            ),
        }

    def page(self) -> str:
        """For people."""
        title = f"{self.task.title}: {len(self.task.classes)} classes, {len(self.task.images)} images"
        rows = [[name, str(share)] for name, share in self.shares().items()]
        table = markdown_table([title, "right"], [*rows, ["chance", f"{1 / len(self.task.classes):.1%}"]])
        if self.readable is None:
            return table
        return (
            f"{table}\n\nsoft tokens whose word is a name of the class, or its head noun: {self.readable}; "
            f"{self.readable.n:,} soft tokens of {self.readable.groups:,} images"
        )


def draw_tasks(folder: Path, trained: Sequence[str], settings: ChoiceSettings) -> list[ChoiceTask]:
    """The classes that an adapter was trained on, and those that it never saw, each as a task of its own.

    Images come from the eval part of the folder, prototypes from its train part.

    Args:
        folder: one folder a class.
        trained: the classes of the adapter's training; none for a tokenizer that was not trained on classes.
        settings: of the drawing.

    Raises:
        V2LError: fewer than two classes.
    """
    shown, training = ClassFolder.load(folder, "eval").classes, ClassFolder.load(folder, "train").classes
    names = [name for name in shown if name in training]
    groups = {
        "classes of the training": [name for name in names if name in trained],
        "classes that the training never saw": [name for name in names if name not in trained],
    }
    if not trained:
        groups = {"classes": names}
    tasks = [
        _draw(title, Random(f"{settings.seed}/{title}"), group, shown, training, settings)
        for title, group in groups.items()
        if len(group) > 1
    ]
    if not tasks:
        raise V2LError(f"{folder} has {len(names)} class(es)", "2 and more, each a folder of images")
    return tasks


def _draw(
    title: str,
    random: Random,
    names: Sequence[str],
    shown: Mapping[str, tuple[Path, ...]],
    training: Mapping[str, tuple[Path, ...]],
    settings: ChoiceSettings,
) -> ChoiceTask:
    chosen = sorted(random.sample(list(names), min(settings.classes, len(names))))
    images = [
        (path, name)
        for name in chosen
        for path in random.sample(shown[name], min(settings.per_class, len(shown[name])))
    ]
    return ChoiceTask(title, tuple(images), {name: training[name][:PROTOTYPE_IMAGES] for name in chosen})


def evaluate_choice(
    soft: Pipeline | None, words: Pipeline, task: ChoiceTask, progress: Progress = silent
) -> ChoiceResult:
    """Name all images of a task in every way.

    Args:
        soft: an adapter and its LLM; None measures the other methods alone.
        words: a tokenizer of words with a joint encoder, and the LLM.
        task: the images.
        progress: called after every batch.

    Raises:
        V2LError: an image cannot be read, or a prompt is longer than the LLM's context.
    """
    paths, truth = [path for path, _ in task.images], [name for _, name in task.images]
    answers: dict[str, list[str]] = {}
    readable = None
    if soft is not None:
        read = read_image_words(soft.tokenizer, paths, WordSelection(N_WORDS), progress)
        readable = share_readable([read[path].words for path in paths], truth)
        queries = [soft_of(read[path]) for path in paths]
        answers[SOFT] = list(map(likeliest, score_names(soft.llm, queries, task.classes)))
    every = paths + [path for some in task.prototypes.values() for path in some]
    found = read_image_words(words.tokenizer, every, WordSelection(N_WORDS, "nearest"), progress)
    images = [found[path] for path in paths]
    texts = [tuple(image.words) for image in images]
    answers[WORDS_SENTENCE] = list(map(likeliest, score_names(words.llm, texts, task.classes)))
    choices = [Choice(image.words, tuple(task.classes)) for image in images]
    answers[WORDS_CHOICE] = list(map(likeliest, score_answers(words.llm, choices)))
    vectors = torch.stack([image.vector for image in images])
    answers[CLASS_TEXT] = nearest(vectors, class_texts(words, task.classes), task.classes)
    means = [
        torch.stack([found[path].vector for path in task.prototypes[name]]).mean(dim=0)
        for name in task.classes
    ]
    answers[PROTOTYPE] = nearest(vectors, normalize(torch.stack(means), dim=-1), task.classes)
    return ChoiceResult(
        task,
        {
            name: tuple(answer == right for answer, right in zip(given, truth, strict=True))
            for name, given in answers.items()
        },
        readable,
    )


def share_readable(words: Sequence[Sequence[str]], truth: Sequence[str]) -> GroupedShare | None:
    """How many words of n images are a name of their image's class, or its head noun; None without words."""
    named = [
        [family(word) in ClassNames((label,)).with_heads for word in some]
        for some, label in zip(words, truth, strict=True)
    ]
    return GroupedShare.of(named) if any(named) else None


def class_texts(words: Pipeline, classes: Sequence[str]) -> Tensor:
    """(N, D): the vectors of the classes' names in the encoder's own sentence."""
    encoder = words.joint_encoder
    return encoder.in_template(encoder.templates[0])(classes).cpu()


def nearest(vectors: Tensor, candidates: Tensor, classes: Sequence[str]) -> list[str]:
    """Vectors (n, D) and one vector for each class (N, D) ──► the class with the largest cosine."""
    return [classes[place] for place in (vectors @ candidates.T).argmax(dim=-1).tolist()]


def likeliest(scores: Mapping[str, float]) -> str:
    """The name with the highest score; ties go to the first."""
    return max(scores, key=scores.__getitem__)
