"""names of word lists ──► words that people use, with definitions where a list has them.

A lexicon is a source of candidates for the global codebook, beside the n-grams that the LLM continues. Three
sources are known by name or path:

- `synsets`: the 21,842 noun synsets of ImageNet-21k and ImageNet-1k with their WordNet definitions, as timm
  carries them. A word of several synsets ("crane") is listed once a synset.
- `frequent`: the most frequent words of a language by wordfreq (Speer 2022), without definitions.
- a file of the user's: `.csv` with a column `word` and optionally `definition`, or any other file with one
  word a line.

A frequency is given as Zipf: the base-10 logarithm of occurrences in a thousand million words. "dog" has 5.0,
"beagle" 3.0; wordfreq lists words from 1.0.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import wordfreq
from timm.data.imagenet_info import ImageNetInfo

from v2l.codebook.wordlist import listed_problems, read_text
from v2l.errors import V2LError

SYNSETS, FREQUENT = "synsets", "frequent"
LONGEST_WORD = 100  # characters
LONGEST_DEFINITION = 1000  # characters; the longest of ImageNet-21k has 431
# The words of a phrase: "jack-o'-lantern" has jack, o and lantern.
PARTS = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True)
class LexiconEntry:
    """One word or phrase of a lexicon.

    Attributes:
        word: as it is written, without outer spaces.
        definition: what it means; empty when the source has none.
    """

    word: str
    definition: str = ""


@dataclass(frozen=True)
class Frequencies:
    """How often the words of a language occur, by wordfreq.

    Args:
        language: a code of wordfreq: "en", "de", "zh".

    Raises:
        V2LError: wordfreq has no such language.
    """

    language: str = "en"

    def __post_init__(self) -> None:
        known = wordfreq.available_languages("best")
        if self.language not in known:
            allowed = ", ".join(sorted(known))
            raise V2LError(
                f"wordfreq has no words of the language {self.language!r}", allowed, "--language en"
            )

    @cached_property
    def _table(self) -> Mapping[str, float]:
        table: Mapping[str, float] = wordfreq.get_frequency_dict(self.language, wordlist="best")
        return table

    def zipf(self, phrase: str) -> float:
        """The Zipf frequency of the rarest word in a phrase; 0 when one of its words is not listed, and for a
        phrase without words.
        """
        parts = PARTS.findall(phrase.casefold())
        rarest = min((self._table.get(part, 0.0) for part in parts), default=0.0)
        return math.log10(rarest) + 9 if rarest else 0.0

    def most_frequent(self, count: int) -> list[str]:
        """The most frequent words of more than one letter, without numbers, most frequent first."""
        ranked = sorted(self._table, key=lambda word: -self._table[word])
        words = (word for word in ranked if word.isalpha() and (len(word) > 1 or not word.isascii()))
        return [word for word, _ in zip(words, range(count), strict=False)]


def read_lexicon(sources: Sequence[str], language: str = "en", frequent: int = 60000) -> list[LexiconEntry]:
    """All entries of some sources, in their order.

    Args:
        sources: `synsets`, `frequent`, or paths of files.
        language: of the frequent words; the synsets are English.
        frequent: number of frequent words.

    Raises:
        V2LError: a file cannot be read or has bad lines, or wordfreq has no such language.
    """
    entries: list[LexiconEntry] = []
    for source in sources:
        if source == SYNSETS:
            entries += synset_entries()
        elif source == FREQUENT:
            entries += [LexiconEntry(word) for word in Frequencies(language).most_frequent(frequent)]
        else:
            entries += read_lexicon_file(Path(source))
    return entries


def synset_entries() -> list[LexiconEntry]:
    """Every lemma of every synset of ImageNet-21k and ImageNet-1k, with the synset's definition."""
    return [
        LexiconEntry(lemma, definition)
        for number, definition in _definitions().items()
        for lemma in synset_lemmas(number)
    ]


def synset_lemmas(number: str) -> tuple[str, ...]:
    """The lemmas of a synset of ImageNet by its WordNet id ("n02088364"); none if it has no such synset."""
    return tuple(lemma.strip() for lemma in _lemmas().get(number, "").split(",") if lemma.strip())


@cache
def _lemmas() -> dict[str, str]:
    """WordNet id ──► lemmas with commas between. ImageNet-1k has one synset that ImageNet-21k lacks."""
    subsets: list[Any] = [ImageNetInfo("imagenet22k"), ImageNetInfo("imagenet1k")]  # partly without types
    return {
        number: info.label_name_to_description(number, detailed=False)
        for info in subsets
        for number in info.label_names()
    }


@cache
def _definitions() -> dict[str, str]:
    """WordNet id ──► definition; timm writes it behind the lemmas."""
    info = ImageNetInfo("imagenet1k")  # describes the ids of all subsets
    return {
        number: info.label_name_to_description(number, detailed=True).removeprefix(f"{lemmas}: ").strip()
        for number, lemmas in _lemmas().items()
    }


def read_lexicon_file(source: Path) -> list[LexiconEntry]:
    """The words of a user's file: `.csv` with the columns `word` and `definition`, or a word a line.

    Raises:
        V2LError: there is no such file, it is no text in UTF-8, a column is missing, or lines are empty,
            repeated, too long, or hold control characters; their numbers are listed.
    """
    if not source.exists():
        allowed = f"{SYNSETS}, {FREQUENT}, or a .csv or .txt file"
        raise V2LError(f"got the lexicon {str(source)!r}, which is no source and no file", allowed)
    text = read_text(source)
    numbered = _table_lines(source, text) if source.suffix.lower() == ".csv" else _plain_lines(text)
    seen: dict[LexiconEntry, int] = {}
    bad = []
    for number, entry in numbered:
        if problem := _problem(entry) or (entry in seen and f"repeats line {seen[entry]} ({entry.word!r})"):
            bad.append(f"line {number} {problem}")
        seen.setdefault(entry, number)
    if not seen:
        bad = ["it is empty"]
    if bad:
        allowed = "a word a line, each once, with at most one definition each"
        raise V2LError(f"{source}: {listed_problems(bad)}", allowed, f"correct {source}")
    return list(seen)


def _problem(entry: LexiconEntry) -> str | None:
    """What is wrong with one line of a user's file; None when nothing is."""
    if not entry.word:
        return "is empty"
    if not (entry.word + entry.definition).isprintable():
        return f"holds a control character ({entry.word!r})"
    for what, text, longest in (
        ("word", entry.word, LONGEST_WORD),
        ("definition", entry.definition, LONGEST_DEFINITION),
    ):
        if len(text) > longest:
            return f"has a {what} of {len(text):,} characters, at most {longest:,} are read"
    return None


def _plain_lines(text: str) -> Iterable[tuple[int, LexiconEntry]]:
    return ((number, LexiconEntry(line.strip())) for number, line in enumerate(text.splitlines(), start=1))


def _table_lines(source: Path, text: str) -> Iterable[tuple[int, LexiconEntry]]:
    """Line number and entry of every line of a table.

    Raises:
        V2LError: it has no column `word`, or is no table.
    """
    table = csv.reader(io.StringIO(text), strict=True)
    try:
        head = next(table, [])
        if "word" not in head:
            raise V2LError(f"{source} has no column named word", "word, definition")
        return [(table.line_num, _table_entry(dict(zip(head, row, strict=False)))) for row in table]
    except csv.Error as error:
        raise V2LError(f"{source}, line {table.line_num}: {error}", "a table in CSV") from error


def _table_entry(row: Mapping[str, str]) -> LexiconEntry:
    return LexiconEntry(row.get("word", "").strip(), row.get("definition", "").strip())
