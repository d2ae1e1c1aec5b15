"""LLaMA's kind of vocabulary: SentencePiece with a token for each byte; our ids are SentencePiece's own."""

from __future__ import annotations

from pathlib import Path

import pytest
import sentencepiece
import torch
from tiny_llama import VOCABULARY, write_tiny_llama

from v2l.errors import V2LError
from v2l.llm import FrozenLLM, load_llm
from v2l.llm.loading import load_vocabulary, model_folder
from v2l.prompts.denoise import denoise_prompt
from v2l.prompts.fewshot import FewShotFormat, fewshot_prompt
from v2l.prompts.prompt import Prompt

SUPPORT = [(("red", "dress"), "a_dress"), (("straw", "hat"), "hat")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llama(tmp_path_factory.mktemp("llama") / "tiny")


@pytest.fixture(scope="module")
def llm(folder: Path) -> FrozenLLM:
    return load_llm(str(folder), device="cpu")


@pytest.fixture(scope="module")
def pieces(folder: Path) -> sentencepiece.SentencePieceProcessor:
    """SentencePiece itself, as Meta's code uses it."""
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def test_it_is_a_llama_with_a_token_for_each_byte(
    llm: FrozenLLM, pieces: sentencepiece.SentencePieceProcessor
) -> None:
    assert type(llm.model).__name__ == "LlamaForCausalLM"
    assert llm.vocabulary_size == pieces.vocab_size() == VOCABULARY
    assert (llm.start_ids, llm.special_ids) == ((1,), frozenset({0, 1, 2}))
    assert [llm.piece(token_id) for token_id in range(VOCABULARY)] == [
        pieces.id_to_piece(token_id) for token_id in range(VOCABULARY)
    ]
    assert (llm.piece(3 + ord("\n")), llm.surface(3 + ord("\n"))) == ("<0x0A>", "\n")


@pytest.mark.parametrize(
    "text",
    ["hat", "a photo of a red dress", "straw hat", "Zürich 猫 🙂", "tabs\tand\nlines", "two  spaces", "end "],
)
def test_texts_have_sentencepieces_ids(
    text: str, llm: FrozenLLM, pieces: sentencepiece.SentencePieceProcessor
) -> None:
    assert llm.encode_pieces(text) == pieces.encode(text)
    assert llm.encode(text) == [1, *pieces.encode(text)]
    assert llm.decode(llm.encode_pieces(text)) == text


def test_a_surface_has_the_space_that_the_piece_shows(
    llm: FrozenLLM, pieces: sentencepiece.SentencePieceProcessor
) -> None:
    for token_id in range(259, VOCABULARY):
        assert llm.surface(token_id) == pieces.id_to_piece(token_id).replace("▁", " ")


def test_a_text_of_ours_owns_its_space(llm: FrozenLLM) -> None:
    assert llm.encode_pieces(" hat") == llm.encode_pieces("hat")
    assert llm.encode_pieces(Prompt(("a", " hat"))) == llm.encode_pieces("a hat")


@pytest.mark.parametrize("induction", [True, False])
def test_official_prompts_have_the_ids_of_metas_code(
    induction: bool, llm: FrozenLLM, pieces: sentencepiece.SentencePieceProcessor
) -> None:
    prompts = [
        fewshot_prompt(SUPPORT, ("blue", "jeans"), FewShotFormat("official", induction)),
        denoise_prompt([((300, 301), (302,))], (303, 304), 2, "official"),
    ]
    for prompt in prompts:
        plainly = [
            token_id
            for piece in prompt.pieces
            for token_id in (pieces.encode(piece) if isinstance(piece, str) else piece)
        ]
        assert llm.encode(prompt) == [1, *plainly]
    assert " >\nOutput: " in prompts[0].pieces
    assert pieces.encode(" >\nOutput: ")[:2] == [pieces.piece_to_id("▁"), pieces.piece_to_id("▁>")]


def test_the_vocabulary_alone_needs_no_weights(folder: Path, llm: FrozenLLM, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.model", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    words = load_vocabulary(str(tmp_path))
    assert words.device == torch.device("meta")
    assert (words.fingerprint, words.vocabulary_size, words.special_ids) == (
        llm.fingerprint,
        llm.vocabulary_size,
        llm.special_ids,
    )
    assert words.encode_pieces("straw hat") == llm.encode_pieces("straw hat")


def test_a_folder_in_metas_format_is_refused_with_the_command(tmp_path: Path) -> None:
    for name in ("consolidated.00.pth", "params.json", "tokenizer.model"):
        (tmp_path / name).touch()
    with pytest.raises(
        V2LError,
        match=r"Meta's format \(1 consolidated file\(s\)\).*python3 -m venv .* --num_shards 1 --llama_version 2",
    ):
        load_llm(str(tmp_path))
    (tmp_path / "config.json").touch()  # both formats in one folder
    assert model_folder(str(tmp_path)) == tmp_path
