"""A pipeline is a tokenizer and the LLM whose words it holds; another LLM is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_llm import byte_level_tokenizer, tiny_model
from tiny_pipeline import tiny_tokenizer

from v2l.errors import V2LError
from v2l.llm import FrozenLLM
from v2l.pipeline.pipeline import LLMChoice, Pipeline


def test_a_codebook_of_another_llm_is_refused_with_both_fingerprints(pipeline: Pipeline) -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens(["<new>"])
    other = FrozenLLM(tiny_model(len(tokenizer), 0), tokenizer, "other")
    with pytest.raises(V2LError) as caught:
        _ = Pipeline(pipeline.tokenizer, other).llm
    assert other.fingerprint in str(caught.value)
    assert pipeline.llm.fingerprint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_precision_of_the_same_llm_is_taken(pipeline: Pipeline) -> None:
    tokenizer = byte_level_tokenizer()
    half = FrozenLLM(tiny_model(len(tokenizer), 0).bfloat16(), tokenizer, "tiny in bfloat16")
    assert Pipeline(pipeline.tokenizer, half).llm is half


def test_the_description_names_and_identifies_all_parts(pipeline: Pipeline) -> None:
    described = pipeline.describe()
    source = pipeline.tokenizer.local_codebook.source
    assert described["llm_fingerprint"] == source.llm_fingerprint
    assert described["encoder_fingerprint"] == source.encoder_fingerprint
    assert {"llm", "encoder", "checkpoint"} <= described.keys()


def test_loading_reads_the_checkpoint_and_waits_with_the_llm(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.llm.tokenizer.save_pretrained(tmp_path / "llm")
    pipeline.llm.model.save_pretrained(tmp_path / "llm")
    pipeline.tokenizer.save_pretrained(tmp_path / "checkpoint")
    loaded = Pipeline.load(tmp_path / "checkpoint", llm=str(tmp_path / "llm"), device="cpu")
    assert loaded.llm.fingerprint == pipeline.llm.fingerprint
    assert loaded.describe()["checkpoint"] == str(tmp_path / "checkpoint")
    unnamed = Pipeline.load(
        tmp_path / "checkpoint", device="cpu"
    )  # names the LLM of the codebooks; "tiny" is on no machine
    with pytest.raises(V2LError, match="'tiny'"):
        _ = unnamed.llm


def test_the_choice_of_an_llm_is_loaded_once(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.llm.tokenizer.save_pretrained(tmp_path)
    pipeline.llm.model.save_pretrained(tmp_path)
    lazy = Pipeline(tiny_tokenizer(pipeline.llm), LLMChoice(str(tmp_path), "cpu"))
    assert lazy.llm is lazy.llm
