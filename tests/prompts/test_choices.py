"""Questions for a kind are recognized; prompts have the right article."""

from __future__ import annotations

import pytest

from v2l.prompts.choices import (
    channel_prompt,
    kind_asked_for,
    kind_continuation,
    kind_prompt,
    words_continuation,
)


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Is it an animal?", "animal"),
        ("is this a musical instrument ?", "musical instrument"),
        ("Is that food?", "food"),
        ("Is it red?", None),
        ("What is it?", None),
        ("Is it a thing that people use at home?", None),
        ("Is it an animal? What colour?", None),
    ],
)
def test_the_kind_of_a_question(question: str, kind: str | None) -> None:
    assert kind_asked_for(question) == kind


def test_prompts_are_sentences() -> None:
    assert channel_prompt("apple").text(str) == "A photo of an apple. Words:"
    assert words_continuation(["a", "b c"]).text(str) == " a, b c"
    assert kind_prompt("owl").text(str) == "An owl is a type of"
    assert kind_continuation("food").text(str) == " food"
