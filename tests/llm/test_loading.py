"""Folders, names and the embedded GGUF file become frozen LLMs; what cannot gets one line."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from tiny_llm import byte_level_tokenizer, tiny_model

from v2l import zoo
from v2l.errors import V2LError
from v2l.llm import GenerationConfig, gguf, load_llm


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Hugging Face folder."""
    tokenizer = byte_level_tokenizer()
    tokenizer.save_pretrained(tmp_path / "llm")
    tiny_model(len(tokenizer), tokenizer.eos_token_id).save_pretrained(tmp_path / "llm")
    return tmp_path / "llm"


def test_a_folder_loads_and_says_nothing(
    folder: Path, capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        llm = load_llm(str(folder), device="cpu")
    assert llm.name == str(folder)
    assert len(llm.generate(["a photo"], GenerationConfig(3, ends=False))[0].ids) == 3
    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_dtype_is_as_requested_and_scores_stay_float32(folder: Path) -> None:
    full, half = load_llm(str(folder), "cpu"), load_llm(str(folder), "cpu", "bfloat16")
    assert (full.model.dtype, half.model.dtype) == (torch.float32, torch.bfloat16)
    assert half.fingerprint == full.fingerprint
    assert half.read("a photo").logits.dtype == torch.float32


def test_an_unknown_name_offline_is_one_clear_line() -> None:
    with pytest.raises(V2LError, match=r"'nobody/no-llm': it is no folder on this machine.*offline"):
        load_llm("nobody/no-llm")


def test_a_folder_without_a_model_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(V2LError, match="could not be read as an LLM") as caught:
        load_llm(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_truncated_model_is_one_clear_line(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(V2LError, match="could not be read as an LLM"):
        load_llm(str(folder))


def test_an_unwritable_cache_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv("V2L_HOME", str(tmp_path / "file"))
    with pytest.raises(V2LError, match="could not write"):
        gguf.safetensors_copy(tmp_path / "model.gguf")


def test_a_fault_of_reading_a_gguf_is_not_told_as_one_of_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError("damaged")

    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setenv("V2L_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(gguf, "dequantized_model", fail)
    with pytest.raises(OSError, match="damaged"):
        gguf.safetensors_copy(tmp_path / "model.gguf")


def test_a_file_that_is_no_gguf_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.gguf").write_bytes(b"no model at all")
    monkeypatch.setenv("V2L_HOME", str(tmp_path / "home"))
    with pytest.raises(V2LError, match=r"model\.gguf"):
        load_llm(str(tmp_path / "model.gguf"))
    assert not list((tmp_path / "home").rglob("*.safetensors"))


def test_the_second_of_two_processes_keeps_the_first_copy(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    gguf.move_unless_there(tmp_path / "first", tmp_path / "target")
    gguf.move_unless_there(tmp_path / "second", tmp_path / "target")
    assert (tmp_path / "target" / "config.json").read_text() == "first"


@pytest.mark.embedded
def test_the_embedded_llm_knows_the_capital_of_france() -> None:
    llm = load_llm("smollm2", device="cpu")
    assert (llm.vocabulary_size, llm.context, llm.start_ids) == (49152, 8192, ())
    assert llm.generate(["The capital of France is"], GenerationConfig(1))[0].text == " Paris"
    assert llm.surface(llm.encode_pieces(" dog")[0]) == " dog"


@pytest.mark.embedded
def test_the_embedded_llm_scores_a_shared_prefix_as_a_full_pass() -> None:
    llm = load_llm("smollm2", device="cpu")
    prompts = [
        f"Words of a photo: fur, paw, whiskers. It shows a {label}"
        for label in ("cat", "car", "golden retriever")
    ]
    shared = llm.loglikelihood([(prompt, [" that sleeps", " with wheels"]) for prompt in prompts])
    alone = [llm.loglikelihood([(prompt, [" that sleeps", " with wheels"])])[0] for prompt in prompts]
    for one, other in zip(shared, alone, strict=True):
        assert [score.total for score in one] == pytest.approx([score.total for score in other], abs=1e-3)


def test_the_copy_is_made_in_v2l_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("V2L_HOME", str(tmp_path))
    source = tmp_path / "small.gguf"
    source.write_bytes(b"any bytes")
    monkeypatch.setattr(gguf, "write_copy", lambda path, target: target.mkdir(parents=True))
    copy = gguf.safetensors_copy(source)
    assert copy.parent == zoo.cache_home() / "llm"
    source.write_bytes(b"other bytes")
    assert gguf.safetensors_copy(source) != copy
