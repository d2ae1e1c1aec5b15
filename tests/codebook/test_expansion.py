"""Longer words are the LLM's own greedy continuations, and only those that are words."""

from __future__ import annotations

import pytest
import torch
from tiny_llm import tiny_llm

from v2l.codebook.expansion import Gram, ends_in_function_word, expand, is_word_like, opening_prompt
from v2l.codebook.vocabulary import read_vocabulary
from v2l.encoders import JointEncoder
from v2l.llm import FrozenLLM
from v2l.prompts.prompt import Prompt

OPENING = "a photo of {}"


def all_grams(llm: FrozenLLM, encoder: JointEncoder) -> list[Gram]:
    vocabulary = read_vocabulary(llm, encoder.tokenize_texts)
    return [
        Gram((token_id,), surface)
        for token_id, surface in zip(vocabulary.ids, vocabulary.surfaces, strict=True)
    ]


def greedy(llm: FrozenLLM, prompt: Prompt) -> int:
    """The most likely next token of one prompt, by the model itself."""
    with torch.no_grad():
        return int(llm.model(torch.tensor([llm.encode(prompt)])).logits[0, -1].argmax())


@pytest.mark.parametrize("sentence", [False, True], ids=["byte-level", "sentencepiece"])
def test_expansion_in_batches_equals_greedy_decoding_one_by_one(
    sentence: bool, encoder: JointEncoder
) -> None:
    llm = tiny_llm(sentence=sentence)
    grams = all_grams(llm, encoder)
    for _ in range(2):  # to bigrams, to trigrams
        prompts = [opening_prompt(gram, OPENING) for gram in grams]
        continuations = llm.next_tokens(prompts, batch_size=16)
        assert continuations == [(greedy(llm, prompt),) for prompt in prompts]
        longer, without = expand(grams, llm, continuations)
        assert longer
        assert len(longer) + len(without) == len(grams)
        grams = longer
    assert {gram.order for gram in grams} == {3}


def test_a_longer_surface_is_the_text_of_its_ids(llm: FrozenLLM, encoder: JointEncoder) -> None:
    grams = all_grams(llm, encoder)
    longer, _ = expand(grams, llm, llm.next_tokens([opening_prompt(gram, OPENING) for gram in grams], 3))
    before = llm.encode_pieces("a")
    assert all(llm.decode([*before, *gram.ids]) == f"a{gram.surface}" for gram in longer)


def test_grams_keep_their_order_and_word_boundaries(llm: FrozenLLM) -> None:
    straw, hat = (tuple(llm.encode_pieces(text)) for text in (" straw", " hat"))
    assert len(straw) == len(hat) == 1
    longer, without = expand([Gram(straw, " straw"), Gram(hat, " hat")], llm, [hat, straw])
    assert longer == [Gram(straw + hat, " straw hat"), Gram(hat + straw, " hat straw")]
    assert without == []


def test_continuations_that_are_no_words_are_counted(llm: FrozenLLM) -> None:
    (hat,) = llm.encode_pieces(" hat")
    (newline,) = llm.encode_pieces("\n")
    end = llm.tokenizer.eos_token_id
    longer, without = expand([Gram((hat,), " hat")] * 2, llm, [[newline, end], [hat]])
    assert longer == [Gram((hat, hat), " hat hat")]
    assert without == [" hat\n", " hat" + llm.surface(end)]


def test_a_gram_has_as_many_longer_ones_as_it_has_continuations(llm: FrozenLLM) -> None:
    straw, hat, of = (llm.encode_pieces(text)[0] for text in (" straw", " hat", " of"))
    longer, without = expand([Gram((straw,), " straw"), Gram((hat,), " hat")], llm, [[hat, of], [straw]])
    assert [gram.surface for gram in longer] == [" straw hat", " straw of", " hat straw"]
    assert without == []


def test_punctuation_follows_when_not_only_words_are_wanted(llm: FrozenLLM) -> None:
    hat, comma, newline = (llm.encode_pieces(text)[0] for text in (" hat", ",", "\n"))
    continuations = [[comma, newline, llm.tokenizer.eos_token_id]]
    longer, without = expand([Gram((hat,), " hat")], llm, continuations)
    assert longer == []
    assert len(without) == 3
    longer, without = expand([Gram((hat,), " hat")], llm, continuations, words_only=False)
    assert longer == [Gram((hat, comma), " hat,")]
    assert len(without) == 2


def test_every_gram_has_one_continuation(llm: FrozenLLM) -> None:
    with pytest.raises(ValueError, match="shorter"):
        expand([Gram((1,), "a")], llm, [])


def test_a_byte_is_no_continuation(llm: FrozenLLM) -> None:
    (byte,) = llm.tokenizer.convert_tokens_to_ids(["Ã"])
    longer, without = expand([Gram((1,), "a")], llm, [[byte]], words_only=False)
    assert longer == []
    assert len(without) == 1


@pytest.mark.parametrize("surface", ["truck", " truck", "-tail", " o'clock", "7", " é"])
def test_letters_digits_and_the_marks_inside_words_make_a_longer_word(surface: str) -> None:
    assert is_word_like(surface)


@pytest.mark.parametrize(
    "surface", ["", " ", "\n", "truck\n", ".", ",", " (", "-", "'", "a.b", "\ufffd", "two words?"]
)
def test_punctuation_newlines_and_bytes_make_no_longer_word(surface: str) -> None:
    assert not is_word_like(surface)


@pytest.mark.parametrize("opening", [OPENING, "the {}", "{}"])
@pytest.mark.parametrize("sentence", [False, True], ids=["byte-level", "sentencepiece"])
def test_the_prompt_reads_the_opening_and_the_gram(
    sentence: bool, opening: str, encoder: JointEncoder
) -> None:
    llm = tiny_llm(sentence=sentence)
    for gram in all_grams(llm, encoder):
        text = llm.decode(llm.encode_pieces(opening_prompt(gram, opening)))
        assert text.lstrip() == opening.format(gram.surface.lstrip())


@pytest.mark.parametrize(
    ("surface", "ids", "expected"),
    [(" fabric that", (1, 2), True), (" glass of water", (1, 2, 3), False), (" of", (1,), False)],
)
def test_an_ngram_is_incomplete_when_its_last_word_needs_another(
    surface: str, ids: tuple[int, ...], expected: bool
) -> None:
    assert ends_in_function_word(Gram(ids, surface)) is expected
