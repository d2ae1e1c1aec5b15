"""The LLM is frozen: no method changes a weight, and its weights have a fingerprint."""

from __future__ import annotations

import pytest
import torch
from tiny_llm import byte_level_tokenizer, tiny_model

from v2l.llm import FrozenLLM, GenerationConfig


def test_weights_stay_bit_equal_through_every_method(llm: FrozenLLM) -> None:
    before = {name: tensor.clone() for name, tensor in llm.model.state_dict().items()}
    llm.loglikelihood([("a photo of", [" a hat", " a dress"])])
    llm.generate(["a photo of", "blue"], GenerationConfig(4, temperature=1.0))
    llm.read("a photo")
    assert all(torch.equal(tensor, before[name]) for name, tensor in llm.model.state_dict().items())
    assert not llm.model.training
    assert not any(parameter.requires_grad for parameter in llm.model.parameters())


def test_an_empty_prompt_is_only_a_bos_or_refused(llm: FrozenLLM, llama: FrozenLLM) -> None:
    assert len(llama.next_tokens([""])) == 1
    with pytest.raises(ValueError, match="at least one token"):
        llm.next_tokens([""])


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
