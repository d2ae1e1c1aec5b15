"""The LLM is frozen, and its tokenizer's habits are kept."""

from __future__ import annotations

import pytest
import torch
from tiny_llm import byte_level_tokenizer, tiny_model

from v2l.llm import FrozenLLM, GenerationConfig
from v2l.prompts.prompt import Prompt


def test_weights_stay_bit_equal_through_every_method(llm: FrozenLLM) -> None:
    before = {name: tensor.clone() for name, tensor in llm.model.state_dict().items()}
    llm.loglikelihood([("a photo of", [" a hat", " a dress"])])
    llm.generate(["a photo of", "blue"], GenerationConfig(4, temperature=1.0))
    llm.read("a photo")
    assert all(torch.equal(tensor, before[name]) for name, tensor in llm.model.state_dict().items())
    assert not llm.model.training
    assert not any(parameter.requires_grad for parameter in llm.model.parameters())


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


def test_an_empty_prompt_is_only_a_bos_or_refused(llm: FrozenLLM, llama: FrozenLLM) -> None:
    assert len(llama.next_tokens([""])) == 1
    with pytest.raises(ValueError, match="at least one token"):
        llm.next_tokens([""])


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


def test_the_weights_have_a_fingerprint_of_their_own(llm: FrozenLLM) -> None:
    tokenizer = byte_level_tokenizer()

    def fingerprint(seed: int = 0, **change: float) -> str:
        model = tiny_model(len(tokenizer), 0, seed=seed)
        if change:
            model.model.layers[1].mlp.up_proj.weight.data += change["add"]
        return FrozenLLM(model, tokenizer, "any name").weights_fingerprint

    half = FrozenLLM(tiny_model(len(tokenizer), 0).half(), tokenizer, "any name").weights_fingerprint
    assert fingerprint() == llm.weights_fingerprint
    assert len({fingerprint(), fingerprint(seed=5), fingerprint(add=1e-3), half}) == 4


def test_vocabulary_context_and_special_ids(llm: FrozenLLM) -> None:
    assert llm.vocabulary_size == len(llm.tokenizer) == llm.model.config.vocab_size
    assert llm.context == 512
    assert llm.special_ids == llm.end_ids == {llm.tokenizer.eos_token_id}


def test_ids_without_a_piece_are_not_counted() -> None:
    tokenizer = byte_level_tokenizer()
    assert FrozenLLM(tiny_model(len(tokenizer) + 28, 0), tokenizer, "padded").vocabulary_size == len(
        tokenizer
    )
