"""Answers about sets: the right one is among those offered, chance is theirs, and vectors alone can score them."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import torch

from v2l.errors import V2LError
from v2l.evaluation.set_answers import (
    ALONE,
    EMBEDDING,
    Answer,
    AnswerSettings,
    answers_about,
    embedding_score,
    orders_of,
    task_result,
)
from v2l.image_sets import ImageSet

NAMES = ["ant", "cup", "emu", "hat"]
TEXTS = dict(zip(NAMES, torch.eye(4), strict=True))
COMMON = ImageSet("common", (Path("a"), Path("b")), ("ant",))
REMOVED = ImageSet("difference", (Path("a"), Path("b")), ("cup",), "removed")
STORY = ImageSet("story", tuple(map(Path, "abc")), ("emu", "ant", "hat"))


@pytest.mark.parametrize(("one", "count"), [(COMMON, 3), (REMOVED, 6), (STORY, 6)])
def test_the_right_answer_is_offered_once_among_different_ones(one: ImageSet, count: int) -> None:
    answers = answers_about(one, NAMES, AnswerSettings(3), Random(1))
    assert answers == answers_about(one, NAMES, AnswerSettings(3), Random(1))
    assert len(set(answers)) == len(answers) == count
    assert answers.count(Answer(one.labels, one.change)) == 1


def test_orders_of_a_long_story_are_drawn() -> None:
    story = ImageSet("story", tuple(map(Path, "abcdefghijkl")), tuple("opqrstuvwxyz"))
    answers = answers_about(story, NAMES, AnswerSettings(3), Random(1))
    assert len(set(answers)) == 24
    assert Answer(story.labels) in answers


def test_vectors_alone_answer_what_they_show() -> None:
    ant, cup, emu, hat = torch.eye(4)
    shared = torch.stack([ant, ant, cup])
    assert embedding_score(shared, Answer(("ant",)), "common", TEXTS) == pytest.approx(2 / 3)
    pair = torch.stack([emu + cup, emu])
    scores = {
        (name, change): embedding_score(pair, Answer((name,), change), "difference", TEXTS)
        for name in NAMES
        for change in ("added", "removed")
    }
    assert max(scores, key=scores.__getitem__) == ("cup", "removed")
    images = torch.stack([emu, ant, hat])
    assert embedding_score(images, Answer(STORY.labels), "story", TEXTS) == 3
    assert embedding_score(images, Answer(("ant", "emu", "hat")), "story", TEXTS) == 1


def test_an_object_counts_without_its_change() -> None:
    right = [[True, False], [True, True]]
    records = [
        {"task": "difference", "answers": 8, "right": {EMBEDDING: found, ALONE: [False, False]}}
        for found in right
    ]
    result = task_result("difference", records)
    assert result.right[EMBEDDING] == {
        "the object": (True, True),
        "the object and the change": (False, True),
    }
    assert result.chance == {"the object": 1 / 4, "the object and the change": 1 / 8}
    assert "50.0" in result.page()


def test_a_story_of_few_orders_ends() -> None:
    orders = orders_of(("ant", "ant", "ant", "ant", "cup"), Random(0))
    assert orders[0] == ("ant", "ant", "ant", "ant", "cup")
    assert len(set(orders)) == len(orders) == 5


def test_one_name_is_no_choice() -> None:
    with pytest.raises(V2LError, match="--names 20"):
        AnswerSettings(1)
