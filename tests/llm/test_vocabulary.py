"""Text and ids are converted as the LLM's own tokenizer does; the vocabulary has a fingerprint."""

from __future__ import annotations

import pytest
from tiny_llm import byte_level_tokenizer, tiny_model

from v2l.llm import FrozenLLM
from v2l.prompts.prompt import Prompt


def test_pieces_are_encoded_one_by_one_and_ids_stay_ids(llm: FrozenLLM) -> None:
    prompt = Prompt(("a photo", (300, 7, 300), " of", " a hat"))
    expected = [*llm.encode("a photo"), 300, 7, 300, *llm.encode(" of"), *llm.encode(" a hat")]
    assert llm.encode(prompt) == expected == llm.encode_pieces(prompt)


def test_bos_comes_once_at_the_start_and_only_by_the_llms_own_default(
    llm: FrozenLLM, llama: FrozenLLM
) -> None:
    assert (llm.start_ids, llama.start_ids) == ((), (1,))
    ids = llama.encode(Prompt(("a photo", " of", "a hat")))
    assert ids[0] == 1
    assert 1 not in ids[1:]
    assert llama.encode_pieces("a photo") == llama.encode("a photo")[1:]


@pytest.mark.parametrize("kind", ["llm", "llama"])
def test_surfaces_joined_are_the_text(kind: str, request: pytest.FixtureRequest) -> None:
    llm: FrozenLLM = request.getfixturevalue(kind)
    ids = llm.encode_pieces("a photo of a straw hat")
    joined = "".join(llm.surface(token) for token in ids)
    assert joined.lstrip() == "a photo of a straw hat"
    assert llm.surface(llm.encode_pieces("a hat")[-1]) == " hat"


def test_decoding_undoes_encoding(llm: FrozenLLM) -> None:
    text = "###\nInput: < sun hat, 3 Äpfel >\nOutput: hat <|end|>"
    assert llm.decode(llm.encode(text)) == text


def test_the_fingerprint_is_of_the_vocabulary_and_not_of_the_precision(
    llm: FrozenLLM, llama: FrozenLLM
) -> None:
    tokenizer = byte_level_tokenizer()
    half = FrozenLLM(tiny_model(len(tokenizer), 0, seed=5).half(), tokenizer, "another name")
    assert half.fingerprint == llm.fingerprint != llama.fingerprint
    assert len(llm.fingerprint) == 64


def test_a_new_token_changes_the_fingerprint(llm: FrozenLLM) -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens(["<new>"])
    assert FrozenLLM(tiny_model(len(tokenizer), 0), tokenizer, "tiny").fingerprint != llm.fingerprint


def test_vocabulary_context_and_special_ids(llm: FrozenLLM) -> None:
    assert llm.vocabulary_size == len(llm.tokenizer) == llm.model.config.vocab_size
    assert llm.context == 512
    assert llm.special_ids == llm.end_ids == {llm.tokenizer.eos_token_id}


def test_ids_without_a_piece_are_not_counted() -> None:
    tokenizer = byte_level_tokenizer()
    assert FrozenLLM(tiny_model(len(tokenizer) + 28, 0), tokenizer, "padded").vocabulary_size == len(
        tokenizer
    )
