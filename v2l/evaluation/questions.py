"""images with known classes ──► questions with known answers: what is it, of four? is it an animal?

The classes come from file names or folders (`class_names.py`). Whether a class is an animal, a vehicle, food,
a musical instrument or a building comes from WordNet 3.0 (Princeton University): `imagenet_kinds.csv` lists
the kinds of each of the 1,000 classes of ImageNet, by the hypernyms of its synset. Yes-or-no questions need
images with WordNet ids.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from v2l.errors import V2LError
from v2l.evaluation.class_names import names_of_classes, wordnet_id
from v2l.prompts.choices import with_article
from v2l.sources import ImageFile

KINDS = ("animal", "vehicle", "food", "musical instrument", "building")
UNCOUNTABLE = ("food",)  # kinds without an article
TABLE = Path(__file__).parent / "imagenet_kinds.csv"
OPTIONS = 4


@dataclass(frozen=True)
class WhichQuestion:
    """What is it, of four?

    Attributes:
        file: the image.
        answers: four names of classes, the right one at `right`.
        right: its place.
    """

    file: ImageFile
    answers: tuple[str, ...]
    right: int


@dataclass(frozen=True)
class KindQuestion:
    """Is it of this kind?

    Attributes:
        file: the image.
        kind: one of `KINDS`.
        truth: the right answer.
    """

    file: ImageFile
    kind: str
    truth: bool


def which_questions(files: Sequence[ImageFile], seed: int, limit: int | None = None) -> list[WhichQuestion]:
    """One question for each image, or for `limit` of them: its own class and three others of the images.

    Raises:
        V2LError: the images state no classes, or fewer than four.
    """
    classes = names_of_classes(files)
    names = sorted({names.names[0] for names in classes or ()})
    if classes is None or len(names) < OPTIONS:
        raise V2LError(
            f"the images state {len(names)} classes, by a WordNet id in the file's name or by folders",
            f"images of {OPTIONS} classes and more",
            "v2l evaluate vqa data/samples",
        )
    random = Random(seed)
    chosen = random.sample(range(len(files)), min(limit or len(files), len(files)))
    questions = []
    for place in chosen:
        own = classes[place].names[0]
        others = random.sample([name for name in names if name not in classes[place].names], OPTIONS - 1)
        right = random.randrange(OPTIONS)
        questions.append(WhichQuestion(files[place], (*others[:right], own, *others[right:]), right))
    return questions


def kind_questions(files: Sequence[ImageFile], seed: int, limit: int | None = None) -> list[KindQuestion]:
    """For each kind as many images that are of it as images that are not, `limit` of each at most.

    Returns:
        the questions; none when no image has a WordNet id of ImageNet-1k.
    """
    kinds = kinds_by_wordnet_id()
    known = [(file, kinds[number]) for file in files if (number := wordnet_id(file)) in kinds and number]
    random = Random(seed)
    questions = []
    for kind in KINDS:
        yes = [file for file, of in known if kind in of]
        no = [file for file, of in known if kind not in of]
        count = min(len(yes), len(no), limit or len(known))
        for group, truth in ((yes, True), (no, False)):
            questions += [KindQuestion(file, kind, truth) for file in random.sample(group, count)]
    return questions


@cache
def kinds_by_wordnet_id() -> dict[str, frozenset[str]]:
    """WordNet id of a class of ImageNet-1k ──► the kinds that it is of; empty for none of `KINDS`."""
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {
            row["wordnet_id"]: frozenset(filter(None, row["kinds"].split(";")))
            for row in csv.DictReader(file)
        }


def phrase(kind: str) -> str:
    """A kind as a sentence has it: "an animal", "food"."""
    return kind if kind in UNCOUNTABLE else with_article(kind)
