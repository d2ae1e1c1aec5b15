"""Words that people use become candidates; what is left out is counted, and bad files are refused by line."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from v2l.codebook.build import CodebookBuilder
from v2l.codebook.expansion import Gram
from v2l.codebook.lexicon import (
    Frequencies,
    LexiconEntry,
    read_lexicon,
    synset_entries,
    synset_lemmas,
)
from v2l.codebook.lexicon_grams import Dropped, distinct_readings, frequent_enough, spelled
from v2l.codebook.vocabulary import read_vocabulary
from v2l.encoders import JointEncoder
from v2l.errors import V2LError
from v2l.llm import FrozenLLM

Make = Callable[..., CodebookBuilder]


def test_synsets_have_lemmas_and_definitions() -> None:
    entries = synset_entries()
    assert len(entries) > 40_000
    assert all(entry.word and entry.definition for entry in entries)
    beagle = next(entry for entry in entries if entry.word == "beagle")
    assert beagle.definition == "a small short-legged smooth-coated breed of hound"
    assert len([entry for entry in entries if entry.word == "crane"]) > 1  # one a synset
    assert synset_lemmas("n02088364") == ("beagle",)
    assert synset_lemmas("n99999999") == ()


def test_every_class_of_imagenet_1k_has_lemmas() -> None:
    from timm.data import ImageNetInfo

    assert all(map(synset_lemmas, ImageNetInfo("imagenet1k").label_names()))


def test_a_phrase_is_as_rare_as_its_rarest_word() -> None:
    english = Frequencies("en")
    assert english.zipf("dog") > english.zipf("beagle") > 1
    assert english.zipf("beagle dog") == english.zipf("Beagle")
    assert english.zipf("perennation") == english.zipf("dog perennation") == english.zipf("...") == 0


def test_frequent_words_are_words_of_their_language() -> None:
    german = [entry.word for entry in read_lexicon(["frequent"], "de", 500)]
    assert len(german) == len(set(german)) == 500
    assert {"und", "nicht", "haus"} & set(german)
    assert all(word.isalpha() for word in german)


@pytest.mark.parametrize("language", ["xx", "", "english"])
def test_a_language_without_words_is_refused_with_those_that_have(language: str) -> None:
    with pytest.raises(V2LError, match=r"no words of the language .*; allowed: ar, bg, .*de, .*en"):
        read_lexicon(["frequent"], language)


def test_a_users_table_has_words_and_definitions(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("note,word,definition\nx,beagle,a dog\ny,lamp,\n", encoding="utf-8")
    (tmp_path / "mine.txt").write_text("beagle\ntable lamp\n", encoding="utf-8")
    assert read_lexicon([str(tmp_path / "mine.csv")]) == [
        LexiconEntry("beagle", "a dog"),
        LexiconEntry("lamp"),
    ]
    assert read_lexicon([str(tmp_path / "mine.txt")]) == [LexiconEntry("beagle"), LexiconEntry("table lamp")]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"beagle\n\nlamp\n", "line 2 is empty"),
        ("a.csv", b"word\nbeagle\n\nlamp\n", "line 3 is empty"),
        ("a.csv", b"word,definition\n,a dog\n", "line 2 is empty"),
        ("a.txt", b"", "it is empty"),
        ("a.csv", b"word\n", "it is empty"),
        ("a.txt", b"beagle\nbeagle\n", "line 2 repeats line 1"),
        ("a.csv", b"words\nbeagle\n", "no column named word"),
        ("a.txt", "Hündin\n".encode("latin-1"), "cannot read .*utf-8"),
        (
            "a.csv",
            b"word,definition\nbeagle," + b"x" * 10_000,
            "line 2 has a definition of 10,000 characters",
        ),
        ("a.txt", b"x" * 101, "line 1 has a word of 101 characters"),
        ("a.txt", b"bea\x00gle\n", "line 1 holds a control character"),
    ],
)
def test_bad_lines_are_named(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(V2LError, match=message):
        read_lexicon([str(tmp_path / name)])


def test_a_source_that_is_neither_a_name_nor_a_file_is_refused() -> None:
    with pytest.raises(
        V2LError, match="'synset', which is no source and no file; allowed: synsets, frequent"
    ):
        read_lexicon(["synset"])


def test_words_that_need_more_tokens_are_left_out_and_listed(llm: FrozenLLM) -> None:
    entries = [LexiconEntry("hat"), LexiconEntry("perennation", "growth"), LexiconEntry("straw hat", "a hat")]
    grams, dropped = spelled(entries, llm, 3)
    assert [(gram.word, gram.definition, gram.order) for gram in grams] == [
        ("hat", "", 1),
        ("straw hat", "a hat", 2),
    ]
    assert all(llm.decode(list(gram.ids)) == gram.surface for gram in grams)
    assert dropped == [Dropped("perennation", "lexicon word of more than 3 tokens")]


def test_an_llm_that_spells_no_word_of_the_lexicon_is_refused(llm: FrozenLLM) -> None:
    with pytest.raises(V2LError, match="spells none of 1 lexicon words in 3 tokens"):
        spelled([LexiconEntry("perennation")], llm, 3)


def test_rare_words_are_left_out_and_listed() -> None:
    grams = [Gram((1,), " dog"), Gram((2,), " perennation")]
    assert frequent_enough(grams, Frequencies(), 1.0) == (
        grams[:1],
        [Dropped("perennation", "rarer than Zipf 1")],
    )


def test_of_equal_readings_the_first_is_kept_unless_they_have_senses(encoder: JointEncoder) -> None:
    bird, machine, plain = (
        Gram((1,), " crane", "a bird"),
        Gram((1,), " crane", "a machine"),
        Gram((1,), " Crane"),
    )
    grams, dropped = distinct_readings([bird, machine, plain], encoder.tokenize_texts, senses=True)
    assert grams == [bird, machine]
    assert dropped == [Dropped("Crane", "duplicate n-gram")]
    assert distinct_readings([bird, machine, plain], encoder.tokenize_texts, senses=False)[0] == [bird]


@pytest.fixture
def lexicon(tmp_path: Path) -> str:
    lines = ["word,definition", "straw hat,a hat of straw", "hat,a thing to wear", "perennation,growth"]
    (tmp_path / "lexicon.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(tmp_path / "lexicon.csv")


def test_lexicon_and_llm_are_one_list_with_the_lexicon_first(
    builder: Make, lexicon: str, llm: FrozenLLM, encoder: JointEncoder
) -> None:
    vocabulary = read_vocabulary(llm, encoder.tokenize_texts)
    alone, _ = builder(candidates=("lexicon",), lexicon=(lexicon,)).candidates(vocabulary)
    of_llm, _ = builder().candidates(vocabulary)
    both, dropped = builder(candidates=("llm", "lexicon"), lexicon=(lexicon,)).candidates(vocabulary)
    assert [gram.word for gram in alone] == ["straw hat", "hat"]
    assert both[:2] == alone
    assert {gram.word for gram in both} == {gram.word for gram in (*alone, *of_llm)}
    assert Counter(each.reason for each in dropped)["lexicon word of more than 3 tokens"] == 1


@pytest.mark.parametrize("definitions", ["none", "with", "mean"])
def test_definitions_change_the_vectors_as_the_setting_says(
    definitions: str,
    builder: Make,
    lexicon: str,
    photographs: list[Path],
    tmp_path: Path,
    encoder: JointEncoder,
) -> None:
    make = builder(candidates=("lexicon",), lexicon=(lexicon,), definitions=definitions, min_count=0)
    _, words = make.build(photographs, tmp_path / "built")
    row = words.words.index("hat")
    named, defined = (
        encoder.encode_texts([template.format(text) for template in make.templates]).mean(dim=0)
        for text in ("hat", "hat, a thing to wear")
    )
    named, defined = named / named.norm(), defined / defined.norm()
    expected = {"none": named, "with": defined, "mean": (named + defined) / (named + defined).norm()}[
        definitions
    ]
    assert (words.embeddings[row].float() - expected).abs().max() < 2e-3
    assert words.entries[row].definition == "a thing to wear"
    assert type(words).load(tmp_path / "built" / "global").entries == words.entries


def test_what_is_left_out_can_be_listed(
    builder: Make, lexicon: str, photographs: list[Path], tmp_path: Path
) -> None:
    from dataclasses import replace

    table = tmp_path / "dropped.csv"
    make = replace(builder(candidates=("lexicon",), lexicon=(lexicon,), min_count=0), dropped_table=table)
    _, words = make.build(photographs, tmp_path / "built")
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [{"word": "perennation", "reason": "lexicon word of more than 3 tokens"}]
    assert words.metadata["dropped"]["lexicon word of more than 3 tokens"] == 1
