"""mosaics of photographs of known classes ──► how many photographs are named at the right place.

A photograph is found if one of the mosaic's words names its class at its place. A word names a class as in
`v2l.evaluation.word_naming`: it is of the family of one of the class's names, or of a head noun of them. A
word is at the place of a photograph if the centre of its token lies in the photograph's box and more than
half of what the token covers does.

Beside each tokenizer stands the bag of words of the whole mosaic, with as many words. It has no places, so
its words count wherever the photograph is. The trivial baseline gives each mosaic the words, and their
places, of another mosaic.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from v2l.canvases import GRIDS
from v2l.codebook.variety import family
from v2l.evaluation.first_use import first_use
from v2l.evaluation.journal import WEIGHTS, Journal, Record, files_metadata
from v2l.evaluation.mosaic_pictures import Mosaic, Photograph, draw_mosaics
from v2l.evaluation.table import markdown_table
from v2l.metrics import GroupedShare, Mean
from v2l.places import Box, PlacedWord
from v2l.progress import Progress
from v2l.tokenizers.contract import ImageTokenizer
from v2l.tokenizers.word_tagger import WordTagger
from v2l.tokens import Boxes, CellGrid, ClusterMap, Layout, VisualTokens

BAG = "bag"
LEAST_INSIDE = 0.5  # share of a token that must lie in the photograph's box
DRAWS = 1000  # of the bootstrap


@dataclass(frozen=True)
class MosaicSettings:
    """What is measured.

    Attributes:
        mosaics: of each number of photographs.
        numbers: photographs a mosaic, keys of `GRIDS`.
        words: a mosaic at most, for each tokenizer.
        seed: of the mosaics and of the bootstrap.
    """

    mosaics: int = 60
    numbers: tuple[int, ...] = tuple(GRIDS)
    words: int = 21
    seed: int = 0


@dataclass(frozen=True)
class FoundPhotographs:
    """What one tokenizer found in the mosaics of one number of photographs.

    Attributes:
        number: photographs a mosaic.
        tokenizer: its name.
        words: a mosaic.
        seconds: a mosaic.
        own: per mosaic, how many photographs it found at the right place.
        bag: the same for the bag with as many words, anywhere.
        others: the same for the words and places of another mosaic.
    """

    number: int
    tokenizer: str
    words: Mean
    seconds: Mean
    own: tuple[int, ...]
    bag: tuple[int, ...]
    others: tuple[int, ...]

    def recall(self, found: Sequence[int]) -> GroupedShare:
        """The share of photographs that are found; those of one mosaic are a group."""
        return GroupedShare.of([1.0] * count + [0.0] * (self.number - count) for count in found)

    def ratio(self, seed: int) -> tuple[float, float, float | None] | None:
        """How many times as many as the bag, with a 95 % interval by bootstrap over the mosaics.

        None if the bag found nothing. The upper end is None if the bag found so little that it has no limit.
        """
        if not sum(self.bag):
            return None
        draw, n = random.Random(seed), len(self.own)
        ratios = []
        for _ in range(DRAWS):
            rows = draw.choices(range(n), k=n)
            bag = sum(self.bag[row] for row in rows)
            ratios.append(sum(self.own[row] for row in rows) / bag if bag else float("inf"))
        ratios.sort()
        value = sum(self.own) / sum(self.bag)
        low, high = (ratios[int(share * DRAWS)] for share in (0.025, 0.975))
        return value, low, None if math.isinf(high) else high

    def to_dict(self, seed: int) -> dict[str, Any]:
        """For reports."""
        return {
            "photographs": self.number,
            "tokenizer": self.tokenizer,
            "mosaics": len(self.own),
            "words": self.words.to_dict(),
            "seconds": self.seconds.to_dict(),
            "recall": self.recall(self.own).to_dict(),
            "bag": self.recall(self.bag).to_dict(),
            "another_mosaic": self.recall(self.others).to_dict(),
            "times_the_bag": self.ratio(seed),
        }


def evaluate_mosaics(
    tokenizers: Mapping[str, ImageTokenizer],
    namer: WordTagger,
    photographs: Sequence[Photograph],
    settings: MosaicSettings,
    log: Path | None = None,
    progress: Progress | None = None,
) -> list[FoundPhotographs]:
    """Measure tokenizers whose words have places, beside the bag of words.

    Args:
        tokenizers: by name.
        namer: gives the bag: the words nearest to the whole mosaic.
        photographs: of known classes.
        settings: what is measured.
        log: a journal, with which the same call goes on.
        progress: called after every mosaic.

    Raises:
        V2LError: a photograph cannot be read, or the journal is of another run.
    """
    mosaics = [
        mosaic
        for number in settings.numbers
        for mosaic in draw_mosaics(photographs, number, settings.mosaics, settings.seed)
    ]
    facts = {
        "settings": asdict(settings),
        "stacks": {name: one.describe() | one.settings() for name, one in tokenizers.items()},
        WEIGHTS: {name: one.fingerprint for name, one in tokenizers.items()},
        "bag": namer.codebook.fingerprint,
        "images": files_metadata([file for mosaic in mosaics for file in mosaic.files]),
    }
    journal = Journal.open(log, facts)
    for tokenizer in tokenizers.values():
        first_use(tokenizer)
    for done in range(len(journal.records), len(mosaics)):
        journal.append(read_mosaic(mosaics[done], tokenizers, namer, settings.words))
        if progress:
            progress("mosaics", done + 1, len(mosaics))
    return [
        _found(name, number, settings, mosaics, journal.records)
        for number in settings.numbers
        for name in tokenizers
    ]


def read_mosaic(
    mosaic: Mosaic, tokenizers: Mapping[str, ImageTokenizer], namer: WordTagger, count: int
) -> Record:
    """The words of one mosaic by each tokenizer: word, and the photographs at whose place it is."""
    picture = mosaic.picture()
    device = next((tokenizer.device for tokenizer in tokenizers.values()), torch.device("cpu"))
    vectors = namer.joint_encoder(device).encode_images(picture[None])
    everywhere = list(range(len(mosaic.boxes)))
    record: Record = {BAG: {"words": [[word.word, everywhere] for word in namer.words(vectors, count)[0]]}}
    for name, tokenizer in tokenizers.items():
        start = perf_counter()
        tokens = tokenizer.encode(picture[None])
        seconds = perf_counter() - start
        words = tokenizer.placed_words(tokens)[:count]
        pairs = [[word.word, photographs_at(tokens, word, mosaic.boxes)] for word in words]
        record[name] = {"words": pairs, "seconds": seconds}
    return record


def photographs_at(tokens: VisualTokens, word: PlacedWord, boxes: Sequence[Box]) -> list[int]:
    """The photographs at whose place a word is; none, one, or more if a box lies in another."""
    if tokens.layout is None:
        return []
    x, y = word.area.centre
    return [
        number
        for number, (left, top, right, bottom) in enumerate(boxes)
        if left <= x < right
        and top <= y < bottom
        and share_inside(tokens.layout, word.token, boxes[number]) > LEAST_INSIDE
    ]


def share_inside(layout: Layout, token: int, box: Box) -> float:
    """The share of what a token of the first image covers that lies in a box."""
    left, top, right, bottom = box
    if isinstance(layout, Boxes):
        x0, y0, x1, y1 = layout.corners[0, token].tolist()
        width, height = min(x1, right) - max(x0, left), min(y1, bottom) - max(y0, top)
        whole = (x1 - x0) * (y1 - y0)
        return max(0.0, width) * max(0.0, height) / whole if whole > 0 else 0.0
    cells = _cells(layout) == token  # (h, w)
    h, w = cells.shape
    x, y = (torch.arange(w) + 0.5) / w, (torch.arange(h) + 0.5) / h
    inside = ((y >= top) & (y < bottom))[:, None] & ((x >= left) & (x < right))[None]
    return float((cells & inside).sum() / cells.sum().clamp(min=1))


def page(found: Sequence[FoundPhotographs], seed: int) -> str:
    """The figures for people."""
    rows = []
    for one in found:
        ratio = one.ratio(seed)
        times = "-" if ratio is None else f"{ratio[0]:.2f} ({ratio[1]:.2f} to {limit_text(ratio[2])})"
        shares = (one.recall(of) for of in (one.own, one.bag, one.others))
        cells = [str(one.number), f"{one.words.value:.1f}", *map(str, shares), times]
        rows.append([one.tokenizer, *cells, f"{one.seconds.value:.2f}"])
    head = ["photographs found", "a mosaic", "words", "at their place", "bag, anywhere"]
    head += ["another mosaic's words", "times the bag", "seconds"]
    mosaics = len(found[0].own) if found else 0
    return f"{mosaics} mosaics of each number of photographs; 95 % intervals.\n\n{markdown_table(head, rows)}"


def limit_text(limit: float | None) -> str:
    """The upper end of an interval."""
    return "no limit" if limit is None else f"{limit:.2f}"


def report(found: Sequence[FoundPhotographs], settings: MosaicSettings, stack: Mapping[str, Any]) -> Record:
    """The object for programs."""
    return {
        "metrics": [one.to_dict(settings.seed) for one in found],
        "protocol": "mosaics: a word of the class (or its head noun) at the photograph's place",
        "settings": asdict(settings),
        "stack": dict(stack),
    }


def _found(
    name: str, number: int, settings: MosaicSettings, mosaics: Sequence[Mosaic], records: Sequence[Record]
) -> FoundPhotographs:
    chosen = [
        (mosaic, record)
        for mosaic, record in zip(mosaics, records, strict=True)
        if len(mosaic.boxes) == number
    ]
    words = [record[name]["words"] for _, record in chosen]
    bags = [record[BAG]["words"][: len(own)] for (_, record), own in zip(chosen, words, strict=True)]
    shift = 1 + random.Random(settings.seed).randrange(max(1, len(words) - 1))
    others = [words[(index + shift) % len(words)] for index in range(len(words))]
    of = [mosaic for mosaic, _ in chosen]
    return FoundPhotographs(
        number,
        name,
        Mean.of([float(len(some)) for some in words]),
        Mean.of([record[name]["seconds"] for _, record in chosen]),
        *(tuple(map(count_found, of, lists)) for lists in (words, bags, others)),
    )


def count_found(mosaic: Mosaic, words: Sequence[tuple[str, Sequence[int]]]) -> int:
    """How many photographs of a mosaic are named by a word at their place.

    Args:
        mosaic: the canvas.
        words: each with the numbers of the photographs at whose place it is.
    """
    found = {
        number
        for word, places in words
        for number in places
        if family(word) in mosaic.photographs[number].names.with_heads
    }
    return len(found)


def _cells(layout: CellGrid | ClusterMap) -> Tensor:
    """(h, w) int64: the token of each cell of the first image."""
    if isinstance(layout, ClusterMap):
        return layout.tokens[0].cpu()
    return torch.arange(layout.rows * layout.columns).view(layout.rows, layout.columns)
