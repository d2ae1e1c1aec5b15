"""words ordered by nearness ──► the first of them that say something new.

The words nearest to an image repeat each other: "daisy", "daisies", "painted daisy", "common daisy", "English
daisy". Two rules choose among them. They only skip words; the order by nearness stays.

- One word of each family: "dog", "Dog" and "dogs" are one family.
- Phrases share no word: after "painted daisy" no other phrase with "painted" or "daisy" is taken. The single
  word "daisy" is no phrase and may still be taken, so a specific name can be followed by its general one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

PARTS = re.compile(r"[^\W_]+")


def family(word: str) -> str:
    """A word without case, punctuation and plural ending; words of one family mean the same to a reader."""
    plain = "".join(character for character in word.casefold() if character.isalnum()) or word
    for ending, stem in (("ies", "y"), ("sses", "ss"), ("ss", "ss"), ("s", "")):
        if plain.endswith(ending) and len(plain) > len(ending) + 2:
            return plain.removesuffix(ending) + stem
    return plain


def phrase_parts(word: str) -> frozenset[str]:
    """The families of the words in a phrase; empty for a single word."""
    parts = PARTS.findall(word)
    return frozenset(map(family, parts)) if len(parts) > 1 else frozenset()


def first_distinct(families: Sequence[str], order: Iterable[int], count: int) -> list[int]:
    """The positions in `order` of the first row of each family, at most `count` of them."""
    seen: set[str] = set()
    places: list[int] = []
    for place, row in enumerate(order):
        if families[row] not in seen:
            seen.add(families[row])
            places.append(place)
            if len(places) == count:
                break
    return places


def first_varied(
    families: Sequence[str], parts: Sequence[frozenset[str]], order: Iterable[int], count: int
) -> list[int]:
    """As `first_distinct`, with phrases that share no word.

    Args:
        families: of all rows of a codebook.
        parts: `phrase_parts` of all rows.
        order: rows, nearest first.
        count: how many are taken at most.
    """
    seen: set[str] = set()
    used: set[str] = set()
    places: list[int] = []
    for place, row in enumerate(order):
        if families[row] in seen or used & parts[row]:
            continue
        seen.add(families[row])
        used |= parts[row]
        places.append(place)
        if len(places) == count:
            break
    return places
