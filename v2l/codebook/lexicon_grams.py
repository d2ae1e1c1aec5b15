"""lexicon + the LLM's tokenizer ──► n-grams of at most n tokens, and the words that are left out.

A word or phrase of a lexicon is a unigram, bigram or trigram of the LLM when the LLM's own tokenizer spells
it in one, two or three tokens. The LLM's tokenizer is an argument, because `codebook` does not import `llm`.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from v2l.codebook.expansion import Gram
from v2l.codebook.lexicon import Frequencies, LexiconEntry
from v2l.codebook.wordlist import WritingLLM, token_ids
from v2l.errors import V2LError
from v2l.files import write_file

Reading = tuple[int, ...]


@dataclass(frozen=True)
class Dropped:
    """A word that is no candidate, and why."""

    word: str
    reason: str


def spelled(
    entries: Sequence[LexiconEntry], llm: WritingLLM, max_order: int
) -> tuple[list[Gram], list[Dropped]]:
    """The entries that the LLM spells in at most `max_order` tokens, in their order.

    Raises:
        V2LError: there is none.
    """
    grams: list[Gram] = []
    dropped: list[Dropped] = []
    for entry in entries:
        try:
            ids = token_ids(entry.word, llm)
        except V2LError:
            dropped.append(Dropped(entry.word, "lexicon word without tokens"))
            continue
        if len(ids) > max_order:
            dropped.append(Dropped(entry.word, f"lexicon word of more than {max_order} tokens"))
        else:
            grams.append(Gram(ids, f" {entry.word}", entry.definition))
    if not grams:
        raise V2LError(
            f"the LLM {llm.name!r} spells none of {len(entries):,} lexicon words in {max_order} tokens",
            "words in scripts and languages that it knows",
            "another --lexicon or --language, or --candidates llm",
        )
    return grams, dropped


def frequent_enough(
    grams: Sequence[Gram], frequencies: Frequencies, min_zipf: float
) -> tuple[list[Gram], list[Dropped]]:
    """The n-grams whose rarest word has at least a Zipf frequency of `min_zipf`."""
    kept: list[Gram] = []
    dropped: list[Dropped] = []
    for gram in grams:
        if frequencies.zipf(gram.word) >= min_zipf:
            kept.append(gram)
        else:
            dropped.append(Dropped(gram.word, f"rarer than Zipf {min_zipf:g}"))
    return kept, dropped


def distinct_readings(
    grams: Sequence[Gram], read_by_encoder: Callable[[Sequence[str]], list[Reading]], senses: bool
) -> tuple[list[Gram], list[Dropped]]:
    """Of n-grams that the encoder reads as the same text, the first.

    Args:
        grams: in the order of preference.
        read_by_encoder: the joint encoder's `tokenize_texts`.
        senses: whether a word with two definitions is kept twice, because it is embedded with them. A word
            without a definition is then left out if the same word has one.
    """
    readings = read_by_encoder([gram.word for gram in grams])
    defined = {reading for gram, reading in zip(grams, readings, strict=True) if senses and gram.definition}
    kept: dict[tuple[Reading, str], Gram] = {}
    dropped: list[Dropped] = []
    for gram, reading in zip(grams, readings, strict=True):
        definition = gram.definition if senses else ""
        if not reading:
            dropped.append(Dropped(gram.word, "n-gram unread by the encoder"))
        elif (reading, definition) in kept or (not definition and reading in defined):
            dropped.append(Dropped(gram.word, "duplicate n-gram"))
        else:
            kept[reading, definition] = gram
    return list(kept.values()), dropped


def export_dropped(dropped: Sequence[Dropped], target: Path) -> None:
    """Write a table for people: word, reason.

    Raises:
        V2LError: `target` cannot be written.
    """
    with write_file(target) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("word", "reason"))
        table.writerows((each.word, each.reason) for each in dropped)
