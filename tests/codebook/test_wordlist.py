"""Words that people write become codebooks, and what is wrong with a list is said by line."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.codebook.embedding import WordEmbedder
from v2l.codebook.wordlist import codebook_of_words, export_csv, import_csv, read_words, token_ids
from v2l.encoders import JointEncoder
from v2l.errors import V2LError
from v2l.llm import FrozenLLM
from v2l.shards import Shards

ENTRIES = (
    Entry("dog", (3,), count=7, aliases=(8, 9)),
    Entry("fire truck", (5, 6), 2, 3),
    Entry('say "a, b"', (7, 8, 9), 3),
    Entry("消防車", (4,)),
)


@pytest.fixture
def book() -> Codebook:
    return Codebook(ENTRIES, torch.eye(4).half(), Source("llm", "1", "encoder", "2"), {"a": 1})


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_words_are_read_without_outer_spaces(tmp_path: Path) -> None:
    assert read_words(write(tmp_path / "a.txt", "\ufeffdog\n  fire truck \nDog\n")) == [
        "dog",
        "fire truck",
        "Dog",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"a\.txt: it is empty"),
        ("dog\n\ncat\n \n", r"a\.txt: line 2 is empty; line 4 is empty"),
        ("dog\ncat\ndog\ncat \n", r"line 3 repeats line 1 \('dog'\); line 4 repeats line 2 \('cat'\)"),
        ("dog\nc\x07at\n", r"line 2 holds a control character"),
        ("\n" * 9, r"line 5 is empty; and 4 more; allowed: one word a line, each once"),
    ],
)
def test_a_bad_list_is_refused_by_line(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(V2LError, match=complaint) as refused:
        read_words(write(tmp_path / "a.txt", text))
    assert "\n" not in str(refused.value)


def test_a_list_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00d")
    for name in ("a.txt", "none.txt"):
        with pytest.raises(V2LError, match=f"cannot read .*{name}"):
            read_words(tmp_path / name)


def test_own_words_have_the_ids_that_they_have_in_a_text(
    encoder: JointEncoder, llm: FrozenLLM, tmp_path: Path
) -> None:
    embedder = WordEmbedder(encoder, ("a photo of a {}", "the {}"))
    words = codebook_of_words(["hat", "fire truck", "Hat", "shoe"], llm, embedder, Shards(tmp_path, "words"))
    assert words.words == ("hat", "fire truck", "shoe"), "the encoder reads Hat as hat"
    before = llm.encode_pieces("a")
    for entry in words.entries:
        assert llm.decode([*before, *entry.ids]) == f"a {entry.word}"
        assert entry.order == len(entry.ids)
    torch.testing.assert_close(words.embeddings.float(), embedder.embed(words.words), atol=1e-3, rtol=0)
    assert words.metadata["dropped"] == {"read alike, or not at all, by the encoder": 1}
    assert (words.source.llm_fingerprint, words.source.encoder_fingerprint) == (
        llm.fingerprint,
        encoder.fingerprint,
    )
    words.save(tmp_path / "own")
    assert Codebook.load(tmp_path / "own").entries == words.entries


class PuttingSpaces:
    """A tokenizer that puts the first space in by itself, as SentencePiece does."""

    name, special_ids = "llama", frozenset({0})
    pieces = ("<unk>", " ", " hat", "hat")

    def encode_pieces(self, prompt: str) -> list[int]:
        return {"hat": [2], " hat": [1, 2]}.get(prompt, [0])

    def surface(self, token_id: int) -> str:
        return self.pieces[token_id]


def test_the_space_in_front_of_a_word_comes_once() -> None:
    assert token_ids("hat", PuttingSpaces()) == (2,)


def test_a_word_that_the_llm_cannot_write_is_refused() -> None:
    with pytest.raises(V2LError, match="the LLM 'llama' has no tokens for the word '消'"):
        token_ids("消", PuttingSpaces())


def test_a_table_gives_back_the_codebook(book: Codebook, tmp_path: Path) -> None:
    export_csv(book, tmp_path / "words.csv")
    again = import_csv(tmp_path / "words.csv", book)
    assert again.entries == book.entries
    assert torch.equal(again.embeddings, book.embeddings)
    with (tmp_path / "words.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file))[:3] == [
            ["word", "ids", "order", "count", "aliases", "definition"],
            ["dog", "3", "1", "7", "8 9", ""],
            ["fire truck", "5 6", "2", "3", "", ""],
        ]


def test_two_meanings_of_a_word_are_two_lines(book: Codebook, tmp_path: Path) -> None:
    meanings = ("a large bird", "a lifting machine")
    entries = tuple(Entry("crane", (4,), definition=meaning) for meaning in meanings)
    cranes = Codebook(entries, book.embeddings[:2], book.source)
    export_csv(cranes, tmp_path / "words.csv")
    assert import_csv(tmp_path / "words.csv", cranes).entries == entries
    lines = (tmp_path / "words.csv").read_text(encoding="utf-8").splitlines()
    write(tmp_path / "second.csv", f"{lines[0]}\n{lines[2]}")
    assert import_csv(tmp_path / "second.csv", cranes).entries == entries[1:]
    write(tmp_path / "plain.csv", "word,ids\ncrane,4")
    assert import_csv(tmp_path / "plain.csv", cranes).entries == entries[:1]
    assert cranes.select([0]).merge(cranes).entries == entries


def test_lines_that_people_took_out_are_gone(book: Codebook, tmp_path: Path) -> None:
    export_csv(book, tmp_path / "words.csv")
    lines = (tmp_path / "words.csv").read_text(encoding="utf-8").splitlines()
    write(tmp_path / "words.csv", "\n".join([lines[0], lines[4], lines[1]]))
    chosen = import_csv(tmp_path / "words.csv", book)
    assert chosen.words == ("消防車", "dog")
    assert torch.equal(chosen.embeddings, book.embeddings[[3, 0]])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "word,ids\ncat,77\n",
            r"line 2: 'cat' \(ids 77\) is not in the codebook; .*try: v2l codebook from-words",
        ),
        ("word,ids\ncat,3\n", "line 2: ids 3 are 'dog', not 'cat'"),
        ("word,ids\ndog,3\ndog,3\n", r"line 3 repeats line 2 \('dog'\)"),
        ("word,count\ndog,3\n", "has no column named ids"),
        ("", "has no column named word"),
        ("word,ids\ndog,three\n", "line 2: invalid literal"),
        ("word,ids\ndog\n", "line 2: "),
        ("word,ids\n", "the codebook has no words"),
    ],
)
def test_a_bad_table_is_refused_by_line(text: str, complaint: str, book: Codebook, tmp_path: Path) -> None:
    with pytest.raises(V2LError, match=complaint) as refused:
        import_csv(write(tmp_path / "a.csv", text), book)
    assert "\n" not in str(refused.value)


def test_a_table_that_is_missing_or_no_text_is_refused(book: Codebook, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00d")
    for name in ("a.csv", "none.csv"):
        with pytest.raises(V2LError, match=f"cannot read .*{name}"):
            import_csv(tmp_path / name, book)
