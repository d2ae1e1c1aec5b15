"""a part of an image ──► its share, its box and its position in plain words: "centre left", "bottom"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in shares of the image's width and height, each in [0, 1]."""

WHOLE = 0.9  # share of the image's width and height from which a box is the whole image
STRIP = 0.75  # share of the width (the height) from which no left or right (top or bottom) is named
COLUMNS, ROWS = ("left", "", "right"), ("top", "", "bottom")


@dataclass(frozen=True)
class Area:
    """What one token covers.

    Attributes:
        share: of the image's area, in [0, 1].
        box: the smallest rectangle around it.
        centre: (x, y), the mean of what it covers, in shares of the image's width and height.
    """

    share: float
    box: Box
    centre: tuple[float, float]

    @classmethod
    def of_box(cls, corners: Sequence[float]) -> Area:
        """The area of a rectangle (left, top, right, bottom)."""
        left, top, right, bottom = corners
        share = max(0.0, right - left) * max(0.0, bottom - top)
        return cls(share, (left, top, right, bottom), ((left + right) / 2, (top + bottom) / 2))

    @property
    def position(self) -> str:
        """Where it lies, in words: "whole image", "centre", "top", "centre left", "bottom right" …

        A part that is nearly as wide as the image is neither left nor right, and one that is nearly as high
        is neither top nor bottom. Otherwise the third of the image decides in which the centre lies.
        """
        left, top, right, bottom = self.box
        if right - left >= WHOLE and bottom - top >= WHOLE and self.share >= WHOLE**2:
            return "whole image"
        column = "" if right - left >= STRIP else COLUMNS[_third(self.centre[0])]
        row = "" if bottom - top >= STRIP else ROWS[_third(self.centre[1])]
        if not row:
            return f"centre {column}".strip()
        return f"{row} {column}".strip()


@dataclass(frozen=True)
class PlacedWord:
    """A word and the part of the image that it names.

    Attributes:
        word: the surface form.
        score: similarity of part and word, in [-1, 1].
        area: the part.
        token: number of its token in the image, which the layout knows too.
        name: by which a question refers to the part ("<r0>"); empty without one.
    """

    word: str
    score: float
    area: Area
    token: int = 0
    name: str = ""


def describe_places(words: Sequence[PlacedWord]) -> str:
    """Placed words for people: "dog (41 % of the image, centre left), grass (38 %, bottom)".

    Words of one place are listed together, and then a semicolon ends the list of each place.
    """
    groups = by_place(words)
    several = len(groups) < len(words)
    texts = []
    for number, group in enumerate(groups):
        names = ", ".join(f"{word.name} {word.word}".strip() for word in group)
        texts.append(f"{names} ({_place(group[0].area, number == 0)})")
    return ("; " if several else ", ").join(texts)


def by_place(words: Sequence[PlacedWord]) -> list[list[PlacedWord]]:
    """Words in groups of one area, in the order of the first word of each area."""
    groups: dict[Area, list[PlacedWord]] = {}
    for word in words:
        groups.setdefault(word.area, []).append(word)
    return list(groups.values())


def _place(area: Area, is_first: bool) -> str:
    position = area.position
    if position == "whole image":
        return position
    percent = f"{area.share:.0%}".replace("%", " %") if area.share >= 0.01 else "under 1 %"
    return f"{percent}{' of the image' if is_first else ''}, {position}"


def _third(share: float) -> int:
    """0, 1 or 2: the third of the image in which a coordinate lies."""
    return min(2, int(3 * share))
