"""A stack is a tokenizer and the LLM whose words it holds; another LLM is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_llm import byte_level_tokenizer, tiny_model
from tiny_stack import tiny_tokenizer

from v2l.errors import V2LError
from v2l.llm import FrozenLLM
from v2l.tasks.stack import LLMChoice, Stack


def test_a_codebook_of_another_llm_is_refused_with_both_fingerprints(stack: Stack) -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens(["<new>"])
    other = FrozenLLM(tiny_model(len(tokenizer), 0), tokenizer, "other")
    with pytest.raises(V2LError) as caught:
        _ = Stack(stack.tokenizer, other).llm
    assert other.fingerprint in str(caught.value)
    assert stack.llm.fingerprint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_precision_of_the_same_llm_is_taken(stack: Stack) -> None:
    tokenizer = byte_level_tokenizer()
    half = FrozenLLM(tiny_model(len(tokenizer), 0).bfloat16(), tokenizer, "tiny in bfloat16")
    assert Stack(stack.tokenizer, half).llm is half


def test_the_description_names_and_identifies_all_parts(stack: Stack) -> None:
    described = stack.describe()
    source = stack.tokenizer.local_codebook.source
    assert described["llm_fingerprint"] == source.llm_fingerprint
    assert described["encoder_fingerprint"] == source.encoder_fingerprint
    assert {"llm", "encoder", "checkpoint"} <= described.keys()


def test_loading_reads_the_checkpoint_and_waits_with_the_llm(stack: Stack, tmp_path: Path) -> None:
    stack.llm.tokenizer.save_pretrained(tmp_path / "llm")
    stack.llm.model.save_pretrained(tmp_path / "llm")
    stack.tokenizer.save_pretrained(tmp_path / "checkpoint")
    loaded = Stack.load(tmp_path / "checkpoint", llm=str(tmp_path / "llm"), device="cpu")
    assert loaded.llm.fingerprint == stack.llm.fingerprint
    assert loaded.describe()["checkpoint"] == str(tmp_path / "checkpoint")
    unnamed = Stack.load(tmp_path / "checkpoint", device="cpu")  # names the LLM of the codebooks; "tiny" is on no machine
    with pytest.raises(V2LError, match="'tiny'"):
        _ = unnamed.llm


def test_the_choice_of_an_llm_is_loaded_once(stack: Stack, tmp_path: Path) -> None:
    stack.llm.tokenizer.save_pretrained(tmp_path)
    stack.llm.model.save_pretrained(tmp_path)
    lazy = Stack(tiny_tokenizer(stack.llm), LLMChoice(str(tmp_path), "cpu"))
    assert lazy.llm is lazy.llm
