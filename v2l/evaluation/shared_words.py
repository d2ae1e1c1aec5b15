"""groups of images that share a class, among others that do not ──► how often its name is found.

A word names the class if it is of the family of its name, or of the name's head noun (`class_names.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from v2l.codebook.variety import family
from v2l.datasets import ClassFolder
from v2l.errors import V2LError
from v2l.evaluation.class_names import ClassNames
from v2l.evaluation.table import markdown_table
from v2l.metrics import Proportion
from v2l.pipeline.image_words import vectors_of
from v2l.tasks.comparison.evidence import best_varied, cosines_of
from v2l.tasks.comparison.group import OWN_WORDS
from v2l.tasks.comparison.shared_words import RANKINGS, counted_words
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.word_tagger import WordTagger

COUNTS = (1, 3, 10)  # words of a group among which the name is looked for
COUNTING = "counting shared words"


@dataclass(frozen=True)
class GroupSettings:
    """How groups are drawn.

    Attributes:
        groups: how many.
        sharing: images of the shared class in a group.
        others: images of other classes, each of another one.
        per_class: only so many images of a class are used.
        seed: of the drawing.
    """

    groups: int = 200
    sharing: int = 3
    others: int = 2
    per_class: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        if self.groups < 1 or self.sharing < 2 or self.others < 0:
            raise V2LError(
                f"got {self.groups} groups, {self.sharing} images that share a class, {self.others} others",
                "1 group and more, 2 images and more that share a class, 0 others and more",
            )


@dataclass(frozen=True)
class ClassGroup:
    """Images of which some share a class.

    Attributes:
        label: name of that class.
        files: the images, those that share it first.
    """

    label: str
    files: tuple[Path, ...]


def draw_groups(folder: ClassFolder, settings: GroupSettings) -> list[ClassGroup]:
    """Draw groups; the g-th is a function of the seed and of g.

    Raises:
        V2LError: too few classes or images.
    """
    images = {
        name: Random(f"{settings.seed}/{name}").sample(paths, min(settings.per_class, len(paths)))
        for name, paths in folder.classes.items()
    }
    able = [name for name, paths in images.items() if len(paths) >= settings.sharing]
    if not able or len(images) <= settings.others:
        raise V2LError(
            f"{folder.root} has {len(able)} classes of {settings.sharing} images and more",
            f"one, and {settings.others} other classes",
        )
    return [
        _group(images, able, settings, Random(f"{settings.seed}/{number}"))
        for number in range(settings.groups)
    ]


def evaluate_shared(
    tokenizer: ImageTokenizer, tagger: WordTagger, groups: Sequence[ClassGroup]
) -> dict[str, dict[int, Proportion]]:
    """Ranking ──► number of words ──► the share of groups with the name among so many words.

    Raises:
        V2LError: an image cannot be read.
    """
    files = list(dict.fromkeys(file for group in groups for file in group.files))
    vectors = dict(zip(files, vectors_of(tokenizer, files)[0], strict=True))
    found: dict[str, dict[int, list[bool]]] = {
        name: {count: [] for count in COUNTS} for name in (*RANKINGS, COUNTING)
    }
    for group in groups:
        wanted = ClassNames((group.label,)).with_heads
        some = torch.stack([vectors[file] for file in group.files])
        for name, words in words_by_method(tagger, some).items():
            families = list(map(family, words))
            for count in COUNTS:
                found[name][count].append(not wanted.isdisjoint(families[:count]))
    return {
        name: {count: Proportion(sum(hits), len(hits)) for count, hits in counts.items()}
        for name, counts in found.items()
    }


def words_by_method(tagger: WordTagger, vectors: Tensor) -> dict[str, list[str]]:
    """Ranking ──► the ten words of a group of images (n, D), best first."""
    codebook, most = tagger.codebook, max(COUNTS)
    cosines = cosines_of(codebook, vectors)
    found = {
        name: [codebook.entries[row].word for row in best_varied(codebook, rank(cosines), most)]
        for name, rank in RANKINGS.items()
    }
    lists = [[word.word for word in words] for words in tagger.words(vectors, OWN_WORDS.count, OWN_WORDS.how)]
    return found | {COUNTING: [word.word for word in counted_words(lists, most)]}


def report(shares: dict[str, dict[int, Proportion]], settings: GroupSettings) -> dict[str, Any]:
    """The object for programs."""
    methods = {
        name: {str(count): share.to_dict() for count, share in counts.items()}
        for name, counts in shares.items()
    }
    return {"methods": methods, "n": settings.groups, "seed": settings.seed, "settings": vars(settings)}


def page(shares: dict[str, dict[int, Proportion]], settings: GroupSettings) -> str:
    """For people."""
    head = f"{settings.groups} groups: {settings.sharing} images of one class, {settings.others} of others"
    rows = [[name, *map(str, counts.values())] for name, counts in shares.items()]
    return markdown_table([head, *(f"name in first {count}" for count in COUNTS)], rows)


def _group(
    images: dict[str, list[Path]], able: Sequence[str], settings: GroupSettings, random: Random
) -> ClassGroup:
    label = random.choice(able)
    sharing = random.sample(images[label], settings.sharing)
    other = random.sample([name for name in images if name != label], settings.others)
    return ClassGroup(label, (*sharing, *(random.choice(images[name]) for name in other)))
