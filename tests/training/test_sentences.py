"""Sentences about a class are its name in varied templates, with what WordNet says about it."""

from __future__ import annotations

from random import Random

from v2l.prompts.soft import naming_sentence
from v2l.training.sentences import caption_sentence, definition_of, kind_of, sentence_about


def test_a_seed_gives_a_sentence_and_many_seeds_give_many() -> None:
    others = ["chair", "emu"]
    drawn = [sentence_about("beaver", others, Random(seed)) for seed in range(200)]
    assert drawn == [sentence_about("beaver", others, Random(seed)) for seed in range(200)]
    captions = {one.text for one in drawn if not one.question}
    assert naming_sentence("beaver") in captions
    assert len(captions) >= 5
    assert all(one.text.endswith((".", "!", "?")) for one in drawn)
    answers = {(one.question, one.text) for one in drawn if one.question}
    assert {("Is it a beaver?", "Yes."), ("Is it an emu?", "No.")} <= answers


def test_a_definition_gives_its_head_noun() -> None:
    assert kind_of(definition_of("wrench")) == "tool"
    assert kind_of(definition_of("hawksbill")) == "turtle"
    assert kind_of(definition_of("dragonfly")) == "insect"
    assert kind_of("") == ""


def test_a_word_of_several_meanings_and_an_unknown_one_have_no_definition() -> None:
    assert definition_of("pants") == ""
    assert definition_of("cougar body") == ""


def test_plurals_have_no_article() -> None:
    assert naming_sentence("airplanes") == "A photo of airplanes."
    assert naming_sentence("octopus") == "A photo of an octopus."


def test_a_caption_ends_with_a_full_stop() -> None:
    assert caption_sentence("two  boots\n").text == "two boots."
    assert caption_sentence("What a hat!").text == "What a hat!"
