"""Captions' and questions' prompts equal their golden files; V2L_GOLDEN=write writes these anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from v2l.errors import V2LError
from v2l.prompts import caption, vqa
from v2l.prompts.dialogue import Dialogue, Exchange, find_style

GOLDEN = Path(__file__).parent / "golden"
CAPTIONS = [
    Exchange(("boots", "cowboy"), answer="Black boots."),
    Exchange(("wool", "fur"), answer="A woolen {hat}."),
]
ANSWERS = [
    Exchange(("boots", "cowboy"), "What is it?", "boots"),
    Exchange(("wool", "fur"), "Is it cold?", "no"),
]
QUERY = ("jeans", "denim")


def caption_of(wording: str) -> Dialogue:
    return caption.caption_dialogue(CAPTIONS, QUERY, caption.STYLES[wording])


def vqa_of(wording: str) -> Dialogue:
    return vqa.vqa_dialogue(ANSWERS, QUERY, "What {colour} is it?", vqa.STYLES[wording])


@pytest.mark.parametrize("wording", ["paper", "tuned"])
@pytest.mark.parametrize("of", [caption_of, vqa_of])
def test_the_prompt_equals_its_golden_file(of: object, wording: str) -> None:
    path = GOLDEN / f"{of.__name__.removesuffix('_of')}_{wording}.txt"
    text = of(wording).text
    if os.environ.get("V2L_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("wording", ["paper", "tuned"])
def test_no_piece_ends_in_a_lone_space(wording: str) -> None:
    for dialogue in (caption_of(wording), vqa_of(wording)):
        assert not any(piece.endswith(" ") for piece in dialogue.prompt.pieces)


def test_turns_alternate_and_end_with_the_user() -> None:
    turns = caption_of("tuned").turns
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2 + ["user"]
    assert turns[1]["content"] == "Black boots."
    assert turns[-1]["content"].endswith(": jeans, denim")


def test_lines_are_one_turn() -> None:
    dialogue = caption_of("paper")
    assert dialogue.turns == [{"role": "user", "content": dialogue.text}]


def test_an_unknown_wording_names_the_known_ones() -> None:
    with pytest.raises(V2LError, match=r"'official'; allowed: paper, tuned"):
        find_style(caption.STYLES, "official")


@pytest.mark.parametrize("question", ["", "  \n "])
def test_an_empty_question_is_refused(question: str) -> None:
    with pytest.raises(V2LError, match="empty question"):
        vqa.vqa_dialogue([], QUERY, question)


def test_a_question_becomes_one_line() -> None:
    assert vqa.check_question(" What\n is it? ") == "What is it?"
