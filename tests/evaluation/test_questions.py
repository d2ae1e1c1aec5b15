"""Questions come from classes and from WordNet; their right answers are known, and yes is as frequent as no."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from v2l.errors import V2LError
from v2l.evaluation.questions import (
    KINDS,
    OPTIONS,
    kind_questions,
    kinds_by_wordnet_id,
    phrase,
    which_questions,
)

FOLDERS = [
    Path(f"root/{name}/{number}.jpg")
    for name in ("hat", "dress", "shoes", "pants", "grand_piano")
    for number in range(3)
]
IMAGENET = [
    Path(f"n{number}_{name}.jpg")
    for number, name in [
        ("02088364", "beagle"),
        ("01440764", "tench"),
        ("04461696", "tow_truck"),
        ("07873807", "pizza"),
        ("02676566", "acoustic_guitar"),
        ("03877845", "palace"),
        ("03180011", "desktop_computer"),
    ]
]


def test_one_of_four_answers_is_the_own_class() -> None:
    questions = which_questions(FOLDERS, seed=0)
    assert len(questions) == len({question.file for question in questions}) == len(FOLDERS)
    for question in questions:
        assert len(set(question.answers)) == OPTIONS
        assert question.answers[question.right] == question.file.parent.name.replace("_", " ")
    assert len({question.right for question in questions}) > 1
    assert which_questions(FOLDERS, seed=0) == questions != which_questions(FOLDERS, seed=1)
    assert len(which_questions(FOLDERS, seed=0, limit=2)) == 2


def test_too_few_classes_are_refused() -> None:
    with pytest.raises(V2LError, match="the images state 0 classes"):
        which_questions(FOLDERS[:3], seed=0)
    with pytest.raises(V2LError, match="the images state 3 classes"):
        which_questions(FOLDERS[:9], seed=0)


def test_wordnet_states_the_kinds_of_all_classes() -> None:
    kinds = kinds_by_wordnet_id()
    assert len(kinds) == 1000
    assert set().union(*kinds.values()) == set(KINDS)
    assert kinds["n02088364"] == {"animal"}
    assert kinds["n03180011"] == frozenset()  # desktop computer


def test_yes_is_as_frequent_as_no_for_each_kind() -> None:
    questions = kind_questions(IMAGENET, seed=0)
    counts = Counter((question.kind, question.truth) for question in questions)
    assert counts == {("animal", True): 2, ("animal", False): 2} | {
        (kind, truth): 1 for kind in KINDS[1:] for truth in (True, False)
    }
    animals = {question.file.name for question in questions if question.kind == "animal" and question.truth}
    assert animals == {"n02088364_beagle.jpg", "n01440764_tench.jpg"}
    assert kind_questions(FOLDERS, seed=0) == []


def test_a_kind_has_its_article() -> None:
    assert [phrase(kind) for kind in KINDS] == [
        "an animal",
        "a vehicle",
        "food",
        "a musical instrument",
        "a building",
    ]
