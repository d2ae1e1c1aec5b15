"""words with places ──► how a prompt writes them.

Two formats. In words: "dog (centre left)". In rows, as LLaVA-UHD has it (arXiv 2403.11703, section 3.3): a
comma after a slice and a line break after the last slice of a row are the only marks of position.
"""

from __future__ import annotations

from collections.abc import Sequence

from v2l.places import PlacedWord, by_place


def in_words(words: Sequence[PlacedWord]) -> tuple[str, ...]:
    """One text a word: "dog (centre left)", or "<r0> dog (centre left)" for a region with a name."""
    return tuple(f"{word.name} {word.word} ({word.area.position})".lstrip() for word in words)


def in_rows(words: Sequence[PlacedWord]) -> tuple[str, ...]:
    """One text: the overview's words, a line break, then the words of the slices, row by row.

    Args:
        words: those of the whole image first, then those of the slices in raster order.
    """
    overview, *slices = by_place(words) or [[]]
    rows: dict[float, list[str]] = {}
    for group in slices:
        rows.setdefault(group[0].area.box[1], []).append(_joined(group))
    return ("\n".join([_joined(overview), *(",".join(row) for row in rows.values())]),)


def _joined(words: Sequence[PlacedWord]) -> str:
    return " ".join(word.word for word in words)
