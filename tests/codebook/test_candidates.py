"""Candidates are the vocabulary and what the LLM says after it, as the settings limit it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest
from tiny_llm import byte_level_tokenizer, tiny_model

from v2l.codebook.build import CodebookBuilder
from v2l.codebook.expansion import Gram, ends_in_function_word, opening_prompt
from v2l.codebook.lexicon_grams import Dropped
from v2l.codebook.vocabulary import Vocabulary, read_vocabulary
from v2l.encoders import JointEncoder
from v2l.llm import FrozenLLM

Make = Callable[..., CodebookBuilder]


@pytest.fixture(scope="module")
def vocabulary(llm: FrozenLLM, encoder: JointEncoder) -> Vocabulary:
    return read_vocabulary(llm, encoder.tokenize_texts)


def reasons(dropped: list[Dropped]) -> Counter[str]:
    return Counter(each.reason for each in dropped)


def of_order(grams: list[Gram], order: int) -> set[tuple[int, ...]]:
    return {gram.ids for gram in grams if gram.order == order}


def test_more_continuations_make_more_ngrams_and_the_greedy_ones_stay(
    builder: Make, vocabulary: Vocabulary, llm: FrozenLLM
) -> None:
    one, _ = builder(max_order=2).candidates(vocabulary)
    three, _ = builder(max_order=2, continuations=3).candidates(vocabulary)
    assert of_order(one, 2) < of_order(three, 2)
    words = [gram for gram in one if gram.order == 1]
    likeliest = llm.next_tokens([opening_prompt(gram, "a photo of {}") for gram in words], 3)
    assert of_order(three, 2) <= {
        (*gram.ids, token_id) for gram, ids in zip(words, likeliest, strict=True) for token_id in ids
    }


def test_every_opening_has_its_own_continuations(builder: Make, vocabulary: Vocabulary) -> None:
    openings = ("a photo of {}", "the {}")
    apart = [builder(max_order=2, openings=(opening,)).candidates(vocabulary)[0] for opening in openings]
    together, _ = builder(max_order=2, openings=openings).candidates(vocabulary)
    assert of_order(apart[0], 2) != of_order(apart[1], 2)
    assert of_order(together, 2) >= of_order(apart[0], 2)
    assert of_order(together, 2) <= of_order(apart[0], 2) | of_order(apart[1], 2)


def test_without_words_only_all_text_is_a_candidate(
    builder: Make, vocabulary: Vocabulary, encoder: JointEncoder
) -> None:
    words, lost = builder().candidates(vocabulary)
    texts, lost_texts = builder(words_only=False).candidates(vocabulary)
    assert reasons(lost)["fragment"] == len(vocabulary.fragments) > 0 == reasons(lost_texts)["fragment"]
    assert reasons(lost_texts)["n-gram that dangles"] == 0
    assert of_order(texts, 1) == {(token_id,) for token_id in vocabulary.ids}
    assert of_order(words, 2) < of_order(texts, 2)
    assert reasons(lost_texts)["unfinished word"] == 0
    assert not any(map(ends_in_function_word, words))
    readings = encoder.tokenize_texts([gram.surface.strip() for gram in texts])
    assert len(set(readings)) == len(texts)


def test_a_word_that_the_llm_goes_on_with_stays_if_the_encoder_knows_it_whole(builder: Make) -> None:
    make = builder()
    surfaces = [" cat", " qzxvjk"]
    grams = [Gram((number,), surface) for number, surface in enumerate(surfaces)]
    single, pieces = make.encoder.tokenize_texts([surface.strip() for surface in surfaces])
    assert len(single) < len(pieces)
    inside = next(i for i in range(make.llm.vocabulary_size) if make.llm.surface(i)[:1].isalpha())
    apart = next(i for i in range(make.llm.vocabulary_size) if make.llm.surface(i)[:1] == " ")
    assert make._unfinished(grams, [(inside,), (inside,)]) == grams[1:]
    assert make._unfinished(grams, [(apart,), (apart,)]) == []


def test_other_weights_of_one_name_and_tokenizer_use_no_old_part(
    builder: Make, vocabulary: Vocabulary, llm: FrozenLLM
) -> None:
    tokenizer = byte_level_tokenizer()
    other = FrozenLLM(tiny_model(len(tokenizer), tokenizer.eos_token_id, seed=3), tokenizer, llm.name)
    assert other.fingerprint == llm.fingerprint
    first, _ = builder().candidates(vocabulary)
    second, _ = replace(builder(), llm=other).candidates(vocabulary)
    fresh, _ = replace(builder("fresh"), llm=other).candidates(vocabulary)
    assert second == fresh != first
