"""image ⇄ visual tokens: what a tokenizer makes of a batch of images, whatever its kind.

Plain data. Tokens are ids or embeddings, with a mask where images have different numbers of them, and a
layout that says which part of the image each token covers. Sources: V2L Tokenizer, arXiv 2403.07874, section
3; SeTok, arXiv 2406.05127; TiTok, arXiv 2406.07550; Groma, arXiv 2404.13013.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

from v2l.errors import V2LError
from v2l.places import Area

if TYPE_CHECKING:  # prompts read these types without waiting for torch
    from torch import Tensor

Kind = Literal["words", "codes", "embeddings"]
"""What the LLM gets.

"words" have a meaning, "codes" can be decoded to an image, and "embeddings" are vectors in the LLM's
input-embedding space.
"""

KINDS: tuple[Kind, ...] = ("words", "codes", "embeddings")
Segment = tuple[float, float, float, float]
"""A line (x0, y0, x1, y1), in shares of the image's width and height."""


@dataclass(frozen=True)
class Word:
    """One word of one image, for people and for prompts.

    Attributes:
        word: the surface form, without the space in front of it ("fire truck"); empty for a token without a
            word.
        ids: its token ids in the LLM's vocabulary, one per piece.
        score: similarity of the image's (or the token's) and the word's embeddings, in [-1, 1].
    """

    word: str
    ids: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class Outline:
    """The border of what one token covers, in shares of the image's width and height, each in [0, 1].

    Attributes:
        segments: straight lines; none for a token that covers nothing.
        anchor: (x, y) of the top left corner, where the token's word is written.
    """

    segments: tuple[Segment, ...]
    anchor: tuple[float, float]

    @classmethod
    def box(cls, left: float, top: float, right: float, bottom: float) -> Outline:
        """The four sides of a rectangle."""
        sides = (
            (left, top, right, top),
            (right, top, right, bottom),
            (left, bottom, right, bottom),
            (left, top, left, bottom),
        )
        return cls(sides, (left, top))


@dataclass(frozen=True)
class CellGrid:
    """Token n covers cell n of a regular grid over the image, in raster order.

    Its row is n // columns, and its column is n % columns.

    Attributes:
        rows: h, cells from top to bottom.
        columns: w, cells from left to right.
    """

    rows: int
    columns: int

    def select(self, images: slice) -> CellGrid:
        """The layout of some images; all images have the same."""
        return self

    def outlines(self, image: int) -> list[Outline]:
        """The border of each token's cell, h · w of them."""
        h, w = self.rows, self.columns
        return [
            Outline.box(column / w, row / h, (column + 1) / w, (row + 1) / h)
            for row in range(h)
            for column in range(w)
        ]

    def areas(self, image: int) -> list[Area]:
        """What each token covers, h · w of them."""
        h, w = self.rows, self.columns
        return [
            Area.of_box((column / w, row / h, (column + 1) / w, (row + 1) / h))
            for row in range(h)
            for column in range(w)
        ]


@dataclass(frozen=True)
class ClusterMap:
    """Each cell of a grid over the image belongs to one token, or to none.

    Methods with this layout: clusters (SeTok) and kept patches (LaVIT).

    Attributes:
        tokens: (B, h, w) int64, the number of the cell's token in [0, N), or -1 for a cell without a token.
    """

    tokens: Tensor

    def select(self, images: slice) -> ClusterMap:
        """The layout of some images."""
        return ClusterMap(self.tokens[images])

    def outlines(self, image: int) -> list[Outline]:
        """The border of each token's cells; their number is the largest token number plus one.

        A token without cells has no segments.
        """
        cells: list[list[int]] = self.tokens[image].tolist()
        members = _members(cells)
        return [_border(members.get(token, []), cells) for token in range(max(members) + 1)]

    def areas(self, image: int) -> list[Area]:
        """What each token covers; their number is the largest token number plus one."""
        cells: list[list[int]] = self.tokens[image].tolist()
        members = _members(cells)
        size = len(cells), len(cells[0])
        return [_area(members.get(token, []), size) for token in range(max(members) + 1)]


@dataclass(frozen=True)
class Boxes:
    """Each token covers a rectangle; rectangles may overlap: regions (Groma) and slices.

    Attributes:
        corners: (B, N, 4) float32, left, top, right and bottom in shares of the image's width and height, in
            [0, 1].
    """

    corners: Tensor

    def select(self, images: slice) -> Boxes:
        """The layout of some images."""
        return Boxes(self.corners[images])

    def outlines(self, image: int) -> list[Outline]:
        """The border of each token's rectangle, N of them."""
        return [Outline.box(*corners) for corners in self.corners[image].tolist()]

    def areas(self, image: int) -> list[Area]:
        """What each token covers, N of them."""
        return [Area.of_box(corners) for corners in self.corners[image].tolist()]


Layout = CellGrid | ClusterMap | Boxes


@dataclass(frozen=True)
class CodeStream:
    """Codes of one image that share one codebook, as files and byte counts need them.

    Attributes:
        rows: (h, w) int64 in [0, size), rows of the codebook; (1, N) for a sequence without a grid.
        size: number of reachable codes.
    """

    rows: Tensor
    size: int

    @property
    def bits(self) -> float:
        """What the codes cost at log2 of the reachable codes each."""
        return self.rows.numel() * math.log2(self.size)


@dataclass(frozen=True)
class VisualTokens:
    """The tokens of B images, at most N an image.

    Attributes:
        kind: what the LLM gets.
        ids: (B, N) int64 in the tokenizer's own numbering; required for words and codes.
        embeddings: (B, N, width) float32; required for embeddings.
        mask: (B, N) bool, True where there is a token and False at padding; None: every image has N tokens.
        layout: what each token covers; None for a sequence whose tokens each describe the whole image
            (TiTok).
        words: per image a `Word` for each token, padding left out; empty when the tokens have no words.

    Raises:
        V2LError: ids or embeddings are missing for the kind, or the mask has another shape.
    """

    kind: Kind
    ids: Tensor | None = None
    embeddings: Tensor | None = None
    mask: Tensor | None = None
    layout: Layout | None = None
    words: tuple[tuple[Word, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise V2LError(f"got tokens of the kind {self.kind!r}", ", ".join(KINDS))
        shape = tuple(self._values().shape[:2])
        if self.mask is not None and tuple(self.mask.shape) != shape:
            raise V2LError(
                f"got a mask of shape {tuple(self.mask.shape)}", f"the tokens' shape (B, N), {shape}"
            )

    def __len__(self) -> int:
        return len(self._values())

    def __getitem__(self, index: int) -> Self:
        """The tokens of one image, still with a batch axis: B = 1."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        start = index % len(self)
        return self._select(slice(start, start + 1))

    def places(self, image: int = 0) -> list[int]:
        """The places in [0, N) of one image's tokens, without padding."""
        if self.mask is None:
            return list(range(self._values().shape[1]))
        return [place for place, present in enumerate(self.mask[image].tolist()) if present]

    def strings(self, image: int = 0, count: int | None = None) -> Sequence[str]:
        """The first `count` words of one image, as strings."""
        return [word.word for word in self.words[image][:count]] if self.words else []

    def outlines(self, image: int = 0) -> list[Outline]:
        """The border of each token of one image, padding left out; empty without a layout."""
        if self.layout is None:
            return []
        outlines = self.layout.outlines(image)
        return [outlines[place] for place in self.places(image) if place < len(outlines)]

    def areas(self, image: int = 0) -> list[Area]:
        """What each token of one image covers, padding left out; empty without a layout."""
        if self.layout is None:
            return []
        areas = self.layout.areas(image)
        return [areas[place] for place in self.places(image) if place < len(areas)]

    def _values(self) -> Tensor:
        """What the kind requires: embeddings (B, N, width), or ids (B, N)."""
        values = self.embeddings if self.kind == "embeddings" else self.ids
        if values is None:
            missing = "embeddings" if self.kind == "embeddings" else "ids"
            raise V2LError(
                f"tokens of the kind {self.kind!r} came without {missing}", f"{missing} of B images"
            )
        return values

    def _select(self, images: slice) -> Self:
        """The tokens of some images."""
        return type(self)(
            self.kind,
            None if self.ids is None else self.ids[images],
            None if self.embeddings is None else self.embeddings[images],
            None if self.mask is None else self.mask[images],
            None if self.layout is None else self.layout.select(images),
            self.words[images],
        )


class GridTokens(VisualTokens):
    """The V2L Tokenizer's tokens of B images: global words, and a grid of local words.

    The local words can be decoded.

    Here `words` are the global words, which describe the whole image; local words have their place in `ids`
    and `layout`.

    Args:
        global_ids: (B, G) int64, rows of the global codebook, nearest first.
        local_ids: (B, h, w) int64, token ids of the LLM in raster order.
        words: per image its G global words, nearest first; the same tokens as `global_ids`, readable.
    """

    global_ids: Tensor
    local_ids: Tensor

    def __init__(
        self, global_ids: Tensor, local_ids: Tensor, words: tuple[tuple[Word, ...], ...] = ()
    ) -> None:
        grid = CellGrid(local_ids.shape[1], local_ids.shape[2])
        super().__init__("codes", local_ids.flatten(1), layout=grid, words=words)
        object.__setattr__(self, "global_ids", global_ids)  # the frozen dataclass refuses plain assignment
        object.__setattr__(self, "local_ids", local_ids)

    def with_local_ids(self, local_ids: Tensor) -> GridTokens:
        """The same images with other local tokens, (B, h, w) int64: what restoration changes."""
        return GridTokens(self.global_ids, local_ids, self.words)

    def _select(self, images: slice) -> Self:
        return type(self)(self.global_ids[images], self.local_ids[images], self.words[images])


ImageTokens = GridTokens
"""The public name of the V2L Tokenizer's tokens."""


def _members(cells: Sequence[Sequence[int]]) -> dict[int, list[tuple[int, int]]]:
    """A map (h, w) of token numbers ──► per token its cells (row, column), in raster order."""
    members: dict[int, list[tuple[int, int]]] = {}
    for y, row in enumerate(cells):
        for x, token in enumerate(row):
            members.setdefault(token, []).append((y, x))
    return members


def _area(members: Sequence[tuple[int, int]], size: tuple[int, int]) -> Area:
    """Cells (row, column) of one token in a map of `size` (h, w) ──► what the token covers."""
    h, w = size
    if not members:
        return Area.of_box((0.0, 0.0, 0.0, 0.0))
    ys, xs = zip(*members, strict=True)
    box = (min(xs) / w, min(ys) / h, (max(xs) + 1) / w, (max(ys) + 1) / h)
    centre = ((sum(xs) / len(xs) + 0.5) / w, (sum(ys) / len(ys) + 0.5) / h)
    return Area(len(members) / (h * w), box, centre)


def _border(members: Sequence[tuple[int, int]], cells: Sequence[Sequence[int]]) -> Outline:
    """Cells (row, column) of one token in a map (h, w) ──► the border of the token.

    The border consists of the cell edges towards other tokens and of the image's border.
    """
    h, w = len(cells), len(cells[0])
    inside = set(members)
    segments: list[Segment] = []
    for y, x in members:
        left, top, right, bottom = x / w, y / h, (x + 1) / w, (y + 1) / h
        edges = {  # neighbour ──► the edge that is shared with it
            (y - 1, x): (left, top, right, top),
            (y + 1, x): (left, bottom, right, bottom),
            (y, x - 1): (left, top, left, bottom),
            (y, x + 1): (right, top, right, bottom),
        }
        segments += [edge for neighbour, edge in edges.items() if neighbour not in inside]
    y, x = min(members, default=(0, 0))
    return Outline(tuple(segments), (x / w, y / h))
