"""Shared words, differences and stories come from the words and vectors of several images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_llm import tiny_llm
from tiny_pipeline import tiny_pipeline
from tiny_words_tokenizer import QuarterTokenizer
from torch.nn.functional import normalize

from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.datasets import ClassFolder
from v2l.errors import V2LError
from v2l.evaluation.shared_words import GroupSettings, draw_groups, evaluate_shared
from v2l.pipeline.image_words import ImageWords
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.story import story_dialogue
from v2l.tasks.comparison.difference import find_difference
from v2l.tasks.comparison.evidence import EvidenceSettings, evidence_of
from v2l.tasks.comparison.group import Group, read_group
from v2l.tasks.comparison.shared_words import common_words, counted_words
from v2l.tasks.comparison.story import StorySettings, first_sentences, write_story
from v2l.tokenizers.word_tagger import WordTagger

WORDS = ("hat", "boot", "chair", "wood")


@pytest.fixture(scope="module")
def tagger() -> WordTagger:
    entries = tuple(Entry(word, (row,)) for row, word in enumerate(WORDS))
    return WordTagger(Codebook(entries, torch.eye(4), Source("l", "l", "e", "e")), "none")


def group(tagger: WordTagger, *mixtures: dict[str, float]) -> Group:
    """Images whose vectors are mixtures of the words' vectors."""
    vectors = [torch.tensor([mixture.get(word, 0.0) for word in WORDS]) for mixture in mixtures]
    return Group(
        tuple(
            ImageWords(tuple(mixture), normalize(vector, dim=0))
            for mixture, vector in zip(mixtures, vectors, strict=True)
        ),
        tagger,
    )


def test_a_word_of_all_images_comes_first(tagger: WordTagger) -> None:
    images = group(tagger, {"hat": 1, "wood": 1}, {"wood": 1, "boot": 1}, {"chair": 1, "wood": 1})
    first, *_ = common_words(images, 2)
    assert (first.word, first.images) == ("wood", 3)
    assert first.score == pytest.approx(0.5**0.5, abs=1e-4)


def test_one_image_that_does_not_fit_costs_a_word_a_bounded_amount() -> None:
    settings = EvidenceSettings(0.05, 0.5)
    evidence = evidence_of(torch.tensor([[1.0, 0.0, 0.0, 0.0]]), settings)
    assert evidence.exp()[0].tolist() == pytest.approx([0.5 + 0.125, 0.125, 0.125, 0.125], abs=1e-4)


def test_without_a_joint_space_shared_words_are_counted() -> None:
    lists = [["red", "Hat"], ["hat", "blue"], ["green", "hats"]]
    first, second, *_ = counted_words(lists, 3)
    assert (first.word, first.images) == ("Hat", 3)
    assert (second.word, second.images) == ("red", 1)


def test_a_difference_names_what_came_and_what_went(tagger: WordTagger) -> None:
    found = find_difference(group(tagger, {"hat": 1, "wood": 0.5}, {"boot": 1, "wood": 0.5}), 3)
    assert [word.word for word in found.came] == ["boot"]
    assert [word.word for word in found.went] == ["hat"]
    assert [word.word for word in found.stayed] == ["wood"]
    same = find_difference(group(tagger, {"hat": 1}, {"hat": 1}), 3)
    assert (same.came, same.went) == ((), ())


def test_any_tokenizer_with_words_can_be_compared(samples: Path) -> None:
    files = [samples / "hat" / "straw.jpg", samples / "shoes" / "boots.jpg"]
    images = read_group(QuarterTokenizer(), files, 2)
    assert {word.word for word in common_words(images, 3)} <= set(QuarterTokenizer().words)
    find_difference(images, 3)


def test_one_image_is_refused_in_one_line(samples: Path) -> None:
    with pytest.raises(V2LError, match="got 1 image; allowed: 2 images and more") as caught:
        read_group(QuarterTokenizer(), [samples / "hat" / "straw.jpg"], 2)
    assert "\n" not in str(caught.value)


def test_a_story_has_a_line_for_each_image_and_as_many_sentences_at_most(samples: Path) -> None:
    assert "Photo 2: boot, shoe" in story_dialogue([["hat"], ["boot", "shoe"]]).text
    pipeline = Pipeline(QuarterTokenizer(), tiny_llm(2048))
    files = [samples / "hat" / "straw.jpg", samples / "shoes" / "boots.jpg"]
    images = read_group(pipeline.tokenizer, files, 2)
    assert write_story(pipeline.llm, images, StorySettings()) == write_story(
        pipeline.llm, images, StorySettings()
    )
    assert first_sentences("One. Two!\nThree. Four", 2) == "One. Two!"
    assert first_sentences("One. And then", 3) == "One."
    assert first_sentences("no end", 3) == "no end"


def test_groups_are_seeded_and_their_figures_have_a_share_for_each_ranking(
    samples: Path, own_cache: None
) -> None:
    folder, settings = ClassFolder.load(samples), GroupSettings(groups=3, sharing=2, others=1)
    groups = draw_groups(folder, settings)
    assert groups == draw_groups(folder, settings)
    assert all(len(set(one.files)) == 3 for one in groups)
    assert all(file.parent.name == one.label for one in groups for file in one.files[:2])
    tokenizer = tiny_pipeline().tokenizer
    shares = evaluate_shared(tokenizer, tokenizer.tagger, groups)
    assert shares.keys() == {"evidence", "mean embedding", "counting shared words"}
    assert all(share.n == 3 for counts in shares.values() for share in counts.values())
    with pytest.raises(V2LError, match="other classes"):
        draw_groups(folder, GroupSettings(others=4))
