"""Every id of an LLM is a word once, or counted under one reason."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st
from tiny_llm import TEXT, byte_level_tokenizer, tiny_llm, tiny_model
from transformers import LlamaTokenizer

from v2l.codebook.vocabulary import is_fragment, read_vocabulary, reason_no_text, reason_to_drop
from v2l.encoders import JointEncoder
from v2l.errors import V2LError
from v2l.llm import FrozenLLM, load_llm


@dataclass(frozen=True)
class Tokens:
    """A vocabulary written out."""

    surfaces: tuple[str, ...]
    special_ids: frozenset[int] = field(default_factory=frozenset)

    @property
    def vocabulary_size(self) -> int:
        return len(self.surfaces)

    def piece(self, token_id: int) -> str:
        return self.surfaces[token_id]

    def surface(self, token_id: int) -> str:
        return self.surfaces[token_id]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> FrozenLLM:
    """A SentencePiece vocabulary as LLaMA's and Gemma's: pieces with "▁", all 256 bytes, and ids kept for later
    use.
    """
    folder, model = tmp_path_factory.mktemp("llama"), io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_writer=model,
        model_type="bpe",
        vocab_size=380,
        byte_fallback=True,
        user_defined_symbols=["<unused0>", "[unused1]"],
        minloglevel=2,
    )
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    tokenizer = LlamaTokenizer.from_pretrained(folder)
    return FrozenLLM(tiny_model(len(tokenizer), tokenizer.eos_token_id), tokenizer, "llama")


def read_lower(texts: Sequence[str]) -> list[tuple[int, ...]]:
    """An encoder that reads ASCII without case, and nothing else."""
    return [tuple(text.lower().encode("ascii", errors="ignore")) for text in texts]


@pytest.mark.parametrize(
    ("surface", "reason"),
    [
        ("dog", None),
        (" dog", None),
        ("'s", None),
        ("犬", None),
        (" …", None),
        ("", "whitespace"),
        ("  ", "whitespace"),
        ("\n", "whitespace"),
        ("\u00a0", "whitespace"),
        ("\ufffd", "byte"),
        (" \ufffd", "byte"),
        ("\x07", "control"),
        ("a\x00", "control"),
        ("\u200b", "control"),
        ("a\nb", "control"),
    ],
)
def test_only_text_is_a_word(surface: str, reason: str | None) -> None:
    assert reason_no_text(surface) == reason


def test_a_mark_is_no_word_though_it_reads_like_one() -> None:
    assert reason_to_drop(Tokens(("dog", "dog"), frozenset({1})), 0) is None
    assert reason_to_drop(Tokens(("dog", "dog"), frozenset({1})), 1) == "control"


@pytest.mark.parametrize(
    ("piece", "reason"),
    [
        *(
            (piece, "unused")
            for piece in (
                "<unused7>",
                "[unused12]",
                "<|reserved_special_token_5|>",
                "<extra_id_9>",
                ">>UNUSED_105<<",
                "",
            )
        ),
        *((piece, "byte") for piece in ("<0x41>", "<0xFF>")),
        *(
            (piece, None)
            for piece in ("unused", " reserved", "(control)", "<0x4>", "<extra>", "control7", "<b>")
        ),
    ],
)
def test_ids_for_later_use_and_single_bytes_are_known_by_their_pieces(piece: str, reason: str | None) -> None:
    assert reason_to_drop(Tokens((piece,)), 0) == reason


def test_a_sentencepiece_vocabulary_is_read_whole(llama: FrozenLLM, encoder: JointEncoder) -> None:
    vocabulary = read_vocabulary(llama, encoder.tokenize_texts)
    assert len(vocabulary) + sum(vocabulary.dropped.values()) == llama.vocabulary_size == 380
    assert {reason: vocabulary.dropped[reason] for reason in ("byte", "unused", "control")} == {
        "byte": 256,
        "unused": 2,
        "control": 3,
    }
    pieces = [llama.piece(token_id) for token_id in vocabulary.ids]
    assert not [piece for piece in pieces if piece.startswith(("<0x", "<unused", "[unused", "<s"))]
    assert all(
        surface.startswith(" ") == piece.startswith("▁")
        for piece, surface in zip(pieces, vocabulary.surfaces, strict=True)
    )


def test_the_byte_of_a_letter_is_not_taken_for_the_letter(llama: FrozenLLM, encoder: JointEncoder) -> None:
    byte, letter = llama.tokenizer.convert_tokens_to_ids(["<0x61>", "a"])
    vocabulary = read_vocabulary(llama, encoder.tokenize_texts)
    assert llama.surface(byte) == llama.surface(letter) == "a"
    assert byte < letter
    named = {*vocabulary.ids, *(alias for aliases in vocabulary.aliases for alias in aliases)}
    assert letter in named
    assert byte not in named


def test_joined_surfaces_keep_their_word_boundaries(llama: FrozenLLM, llm: FrozenLLM) -> None:
    for model in (llama, llm):
        hat, straw = (model.surface(model.encode_pieces(f"a {word}")[-1]) for word in ("hat", "straw"))
        assert (straw + hat).strip() == "straw hat"


def test_ids_that_a_tokenizer_leaves_out_are_unused() -> None:
    tokenizer = byte_level_tokenizer()
    tokens = len(tokenizer)
    padded = FrozenLLM(tiny_model(tokens + 28, 0), tokenizer, "padded")
    assert reason_to_drop(padded, tokens + 3) == "unused"


def test_a_tokenizer_with_more_ids_than_the_model_is_one_line(encoder: JointEncoder) -> None:
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens(["<pad>"])
    short = FrozenLLM(tiny_model(len(tokenizer) - 1, 0), tokenizer, "short")
    with pytest.raises(
        V2LError,
        match=rf"^the tokenizer of 'short' has {len(tokenizer)} ids and the model knows {len(tokenizer) - 1};",
    ):
        read_vocabulary(short, encoder.tokenize_texts)


def test_ids_that_read_alike_are_aliases_of_the_lowest() -> None:
    vocabulary = read_vocabulary(Tokens(("cat", " Dog", "dog", " dog", " ")), read_lower)
    assert vocabulary.ids == (0, 1)
    assert vocabulary.surfaces == ("cat", " Dog")
    assert vocabulary.aliases == ((), (2, 3))
    assert vocabulary.dropped == {"whitespace": 1, "duplicate": 2}


def test_what_the_encoder_cannot_read_is_counted() -> None:
    vocabulary = read_vocabulary(Tokens(("犬", "dog", "猫")), read_lower)
    assert vocabulary.ids == (1,)
    assert vocabulary.dropped == {"unread by the encoder": 2, "duplicate": 0}


@given(st.lists(st.text(alphabet="aA b\n\ufffd\x07犬", max_size=3), max_size=30), st.sets(st.integers(0, 29)))
def test_every_id_is_a_word_an_alias_or_dropped_for_one_reason(
    surfaces: list[str], special: set[int]
) -> None:
    vocabulary = read_vocabulary(Tokens(tuple(surfaces), frozenset(special)), read_lower)
    assert len(vocabulary) + sum(vocabulary.dropped.values()) == len(surfaces)
    named = Counter([*vocabulary.ids, *(alias for aliases in vocabulary.aliases for alias in aliases)])
    assert set(named.values()) <= {1}
    assert vocabulary.dropped["duplicate"] == sum(map(len, vocabulary.aliases))
    assert list(vocabulary.ids) == sorted(vocabulary.ids)


@pytest.mark.parametrize("sentence", [False, True], ids=["byte-level", "sentencepiece"])
def test_real_tokenizers_are_read_whole(sentence: bool, encoder: JointEncoder) -> None:
    llm = tiny_llm(sentence=sentence)
    vocabulary = read_vocabulary(llm, encoder.tokenize_texts)
    assert len(vocabulary) + sum(vocabulary.dropped.values()) == llm.vocabulary_size
    assert not llm.special_ids & set(vocabulary.ids)
    readings = encoder.tokenize_texts([surface.strip() for surface in vocabulary.surfaces])
    assert len(set(readings)) == len(vocabulary)


@pytest.mark.parametrize("sentence", [False, True], ids=["byte-level", "sentencepiece"])
def test_surfaces_keep_the_space_in_front_of_a_word(sentence: bool, encoder: JointEncoder) -> None:
    llm = tiny_llm(sentence=sentence)
    vocabulary = read_vocabulary(llm, encoder.tokenize_texts)
    assert any(surface.startswith(" ") for surface in vocabulary.surfaces)
    assert any(not surface.startswith(" ") for surface in vocabulary.surfaces)
    text = "a red hat"
    assert "".join(llm.surface(token_id) for token_id in llm.encode_pieces(text)).strip() == text


def test_a_surface_is_what_the_token_adds_to_a_text(llm: FrozenLLM, encoder: JointEncoder) -> None:
    vocabulary = read_vocabulary(llm, encoder.tokenize_texts)
    start = llm.encode_pieces("hat")
    for token_id, surface in zip(vocabulary.ids, vocabulary.surfaces, strict=True):
        assert llm.decode([*start, token_id]) == f"hat{surface}"


@pytest.mark.embedded
def test_the_embedded_vocabulary_is_read_whole() -> None:
    llm = load_llm("smollm2", device="cpu")
    vocabulary = read_vocabulary(llm, read_lower)
    assert len(vocabulary) + sum(vocabulary.dropped.values()) == llm.vocabulary_size == 49152
    assert {" dog", " photograph"} <= set(vocabulary.surfaces)
    assert vocabulary.dropped["byte"] > 100


@pytest.mark.parametrize(
    ("surface", "expected"),
    [("issance", True), ("Issance", True), (" dog", False), ("猫", False), ("7", False), (".", False)],
)
def test_a_fragment_is_a_cased_letter_without_its_space(surface: str, expected: bool) -> None:
    assert is_fragment(surface) is expected
