"""word list (a word a line, or a CSV table) ⇄ codebook: what people read and edit.

The LLM's tokenizer is an argument, because `codebook` does not import `llm`.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch

from v2l.codebook.codebook import Codebook, Entry, Source
from v2l.codebook.embedding import WordEmbedder, embed_words
from v2l.codebook.vocabulary import NamedLLM
from v2l.errors import V2LError
from v2l.files import write_file
from v2l.shards import Shards

COLUMNS = ("word", "ids", "order", "count", "aliases", "definition")
NAMED = 5  # number of problems that an error message lists


class WritingLLM(NamedLLM, Protocol):
    """The interface of an LLM's tokenizer that a word list needs."""

    @property
    def special_ids(self) -> frozenset[int]:
        """Control tokens, which are no text."""
        ...

    def encode_pieces(self, prompt: str) -> list[int]:
        """The ids of a text, without a start token."""
        ...

    def surface(self, token_id: int) -> str:
        """The text of one token with the space in front of it, if it has one."""
        ...


def read_words(source: str | Path) -> list[str]:
    """The words of a text file, one a line, without outer spaces.

    Raises:
        V2LError: there is no such file, it is no text in UTF-8, or lines are empty, repeated, or hold control
            characters; their numbers are listed.
    """
    words = [line.strip() for line in read_text(Path(source)).splitlines()]
    first: dict[str, int] = {}
    bad = []
    for number, word in enumerate(words, start=1):
        if not word:
            bad.append(f"line {number} is empty")
        elif word in first:
            bad.append(f"line {number} repeats line {first[word]} ({word!r})")
        elif not word.isprintable():
            bad.append(f"line {number} holds a control character ({word!r})")
        first.setdefault(word, number)
    if not words:
        bad = ["it is empty"]
    if bad:
        raise V2LError(f"{source}: {listed_problems(bad)}", "one word a line, each once", f"correct {source}")
    return words


def read_text(source: Path) -> str:
    """The text of a file that people write.

    Raises:
        V2LError: there is no such file, or it is no text in UTF-8.
    """
    try:
        return source.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise V2LError(f"cannot read {source} ({error})", "a text file in UTF-8, one word a line") from error


def codebook_of_words(
    words: Sequence[str], llm: WritingLLM, embedder: WordEmbedder, shards: Shards
) -> Codebook:
    """A codebook of a user's own words, in their order.

    Of several words that the encoder reads as the same text, the first is kept.

    Args:
        words: without outer spaces, each once.
        llm: encodes each word as it occurs inside a text, after a space.
        embedder: words ──► vectors.
        shards: cache of finished parts.

    Raises:
        V2LError: the LLM has no tokens for a word, or the encoder reads none of the words.
    """
    distinct: dict[tuple[int, ...], str] = {}
    for word, reading in zip(words, embedder.encoder.tokenize_texts(words), strict=True):
        if reading:
            distinct.setdefault(reading, word)
    kept = list(distinct.values())
    entries = tuple(
        Entry(word, ids, len(ids)) for word, ids in ((word, token_ids(word, llm)) for word in kept)
    )
    source = Source(llm.name, llm.fingerprint, embedder.encoder.name, embedder.encoder.fingerprint)
    metadata = {
        "words": len(words),
        "dropped": {"read alike, or not at all, by the encoder": len(words) - len(kept)},
    }
    vectors = embed_words(embedder, kept, shards, torch.float16)
    return Codebook(entries, vectors, source, metadata | {"templates": list(embedder.templates)})


def token_ids(word: str, llm: WritingLLM) -> tuple[int, ...]:
    """The ids of a word after a space.

    Raises:
        V2LError: the LLM has no tokens for it.
    """
    # Some tokenizers insert the space themselves, so both spellings are tried: the one whose tokens decode
    # to exactly one space and the word is used.
    spellings = [tuple(llm.encode_pieces(text)) for text in (f" {word}", word)]
    exact = (ids for ids in spellings if "".join(map(llm.surface, ids)) == f" {word}")
    ids = next(exact, spellings[0])
    if not ids or llm.special_ids.intersection(ids):
        raise V2LError(
            f"the LLM {llm.name!r} has no tokens for the word {word!r}",
            "words in scripts that it knows",
            "another word list",
        )
    return ids


def export_csv(codebook: Codebook, target: str | Path) -> None:
    """Write a codebook's words as a table for people: word, token ids, order, count, aliases, definition.

    Raises:
        V2LError: `target` cannot be written.
    """
    with write_file(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        table.writerows(
            (e.word, _joined(e.ids), e.order, e.count, _joined(e.aliases), e.definition)
            for e in codebook.entries
        )


def import_csv(source: str | Path, origin: Codebook) -> Codebook:
    """The codebook of the lines of a table, in their order; entries without a line are left out.

    Args:
        source: a table with the columns `word` and `ids`, and `definition` where a word has two meanings; the
            others are for people.
        origin: the codebook that was exported, or a larger one; the embeddings are taken from it.

    Raises:
        V2LError: there is no such table, or lines are not in `origin`, have another word, or are repeated;
            their numbers are listed.
    """
    row_of = {entry.key: row for row, entry in enumerate(origin.entries)}
    for first, entry in enumerate(origin.entries):
        row_of.setdefault((entry.ids, ""), first)  # a line without a definition is the word's first meaning
    rows: dict[int, int] = {}
    bad = []
    for number, (word, ids, definition) in _read_table(Path(source)):
        row = row_of.get((ids, definition))
        if row is None:
            bad.append(f"line {number}: {word!r} (ids {_joined(ids)}) is not in the codebook")
        elif origin.entries[row].word != word:
            bad.append(f"line {number}: ids {_joined(ids)} are {origin.entries[row].word!r}, not {word!r}")
        elif row in rows:
            bad.append(f"line {number} repeats line {rows[row]} ({word!r})")
        else:
            rows[row] = number
    if bad:
        raise V2LError(
            f"{source}: {listed_problems(bad)}",
            "lines of v2l codebook export, each once",
            "v2l codebook from-words for new words",
        )
    return origin.select(list(rows), imported_from=len(origin))


def _read_table(source: Path) -> list[tuple[int, tuple[str, tuple[int, ...], str]]]:
    """Line number, and word, ids and definition of every line."""
    table = None
    try:
        with source.open(encoding="utf-8-sig", newline="") as file:
            table = csv.DictReader(file)
            if missing := [column for column in COLUMNS[:2] if column not in (table.fieldnames or ())]:
                raise V2LError(
                    f"{source} has no column named {missing[0]}", ", ".join(COLUMNS), "v2l codebook export"
                )
            return [
                (
                    table.line_num,
                    (line["word"], tuple(map(int, line["ids"].split())), line.get("definition") or ""),
                )
                for line in table
            ]
    except (OSError, UnicodeDecodeError) as error:
        raise V2LError(f"cannot read {source} ({error})", "a table that v2l codebook export wrote") from error
    except (ValueError, AttributeError, csv.Error) as error:
        where = f"{source}, line {table.line_num if table else 1}"
        raise V2LError(
            f"{where}: {error}", "a word, and its token ids with spaces between", "v2l codebook export"
        ) from error


def _joined(ids: Sequence[int]) -> str:
    return " ".join(map(str, ids))


def listed_problems(problems: Sequence[str]) -> str:
    """The first few problems, and how many more there are."""
    more = f"; and {len(problems) - NAMED} more" if len(problems) > NAMED else ""
    return "; ".join(problems[:NAMED]) + more
