"""A pipeline is a tokenizer and the LLM whose words it holds; another LLM is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_llm import byte_level_tokenizer, tiny_model
from tiny_pipeline import tiny_tokenizer
from tiny_words_tokenizer import QuarterTokenizer

from v2l.errors import V2LError
from v2l.evaluation.journal import Journal
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


def twins() -> tuple[FrozenLLM, FrozenLLM]:
    """Two LLMs with one vocabulary and other weights, as LLaMA-2 7B and 13B are."""
    vocabulary = byte_level_tokenizer()
    size, end = len(vocabulary), vocabulary.eos_token_id
    return (
        FrozenLLM(tiny_model(size, end, seed=1), vocabulary, "seven"),
        FrozenLLM(tiny_model(size, end, seed=2), vocabulary, "thirteen"),
    )


def test_of_two_llms_with_one_vocabulary_the_report_names_the_one_that_ran(pipeline: Pipeline) -> None:
    stacks = [Pipeline(pipeline.tokenizer, llm).identity() for llm in twins()]
    assert [stack["llm"] for stack in stacks] == ["seven", "thirteen"]
    assert stacks[0]["llm_fingerprint"] == stacks[1]["llm_fingerprint"]
    assert stacks[0]["llm_weights"] != stacks[1]["llm_weights"]


def test_describing_loads_no_llm_and_names_the_chosen_one(pipeline: Pipeline) -> None:
    lazy = Pipeline(pipeline.tokenizer, LLMChoice("nowhere", "cpu"))
    assert lazy.describe()["llm"] == "nowhere"
    assert "llm_weights" not in lazy.describe()
    with pytest.raises(V2LError, match="nowhere"):
        lazy.identity()


def test_a_journal_of_one_llm_is_not_continued_with_its_twin(pipeline: Pipeline, tmp_path: Path) -> None:
    one, other = (Pipeline(pipeline.tokenizer, llm) for llm in twins())
    Journal.open(tmp_path / "log", {"stack": one.identity()})
    Journal.open(tmp_path / "log", {"stack": one.identity()})
    with pytest.raises(V2LError, match="'seven', and this run has 'thirteen'"):
        Journal.open(tmp_path / "log", {"stack": other.identity()})


def test_a_tokenizer_that_fits_any_llm_takes_any(pipeline: Pipeline) -> None:
    free = Pipeline(QuarterTokenizer(), twins()[0])
    assert free.llm.name == "seven"
    assert free.describe() | {"tokenizer": "tiny-quarters", "llm": "seven"} == free.describe()


def test_restoration_refuses_a_tokenizer_without_a_grid_in_one_line() -> None:
    with pytest.raises(V2LError, match=r"a grid of codes.*'tiny-quarters'.*allowed: v2l"):
        _ = Pipeline(QuarterTokenizer(), twins()[0]).grid
