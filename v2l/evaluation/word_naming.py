"""image vectors + a codebook + class names ──► how often the words of an image name its class.

A word names the class if it is of the family of one of the class's names ("tench" and "Tench" are one). The
second figure also counts the head noun of a name: "terrier" for a Norfolk terrier. The baseline gives each
image the words of another image, drawn by the seed; a single image has no baseline.

Beside them: the share of words that wordfreq does not list, and the skewness of how often a word is among the
ten words of an image. A large skewness means that a few words (hubs) are near to many images, see Radovanovic
et al. 2010, "Hubs in space".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor

from v2l.codebook.codebook import Codebook
from v2l.codebook.lexicon import Frequencies
from v2l.evaluation.class_names import ClassNames
from v2l.evaluation.table import markdown_table
from v2l.metrics import GroupedShare, Proportion
from v2l.tokenizers.word_tagger import RANKINGS

COUNTS = (1, 3, 10)  # words of an image among which the class's name is looked for
READ = 8  # words of an image that `v2l words` prints


@dataclass(frozen=True)
class Naming:
    """How well the words of n images name them.

    Attributes:
        own: per number of words, the share of images with a name of their class among so many.
        heads: the same, where the head noun of a name counts too.
        others: as `heads`, with the words of another image; empty for a single image.
        unlisted: share of the first eight words, a group for each image, that hold a word which wordfreq does
            not list.
        hubs: skewness of the number of images that have a word among their ten.
        ranking: how the words were chosen; a key of `RANKINGS`.
    """

    own: dict[int, Proportion]
    heads: dict[int, Proportion]
    others: dict[int, Proportion]
    unlisted: GroupedShare
    hubs: float
    ranking: str

    def to_dict(self) -> dict[str, Any]:
        """For reports."""
        shares = {
            "class_name": self.own,
            "class_name_or_head": self.heads,
            "words_of_another_image": self.others,
        }
        figures = {
            name: {str(count): share.to_dict() for count, share in counts.items()}
            for name, counts in shares.items()
            if counts
        }
        return figures | {
            "unlisted_words": self.unlisted.to_dict() | {"words": self.unlisted.n},
            "hub_skewness": self.hubs,
            "ranking": self.ranking,
        }

    def page(self) -> str:
        """For people."""
        rows = [
            ["a name of the class", *map(str, self.own.values())],
            ["a name, or its head noun", *map(str, self.heads.values())],
        ]
        if self.others:
            rows.append(["the same, words of another image", *map(str, self.others.values())])
        head = [
            f"images with it among their words ({self.ranking})",
            *(f"first {count}" for count in self.own),
        ]
        return "\n".join(
            [
                markdown_table(head, rows),
                "",
                f"Of the first {READ} words {self.unlisted} are not listed by wordfreq (English). Skewness "
                f"of the words' frequencies (hubs): {self.hubs:.1f}.",
            ]
        )


def evaluate_naming(
    features: Tensor, words: Codebook, classes: Sequence[ClassNames], ranking: str, seed: int = 0
) -> Naming:
    """Look for the names of each image's class among its words.

    Args:
        features: (n, D) float32 image vectors, unit length.
        words: the codebook.
        classes: n names of classes.
        ranking: a key of `RANKINGS`.
        seed: draws the other image of the baseline.

    Raises:
        V2LError: the codebook has fewer than ten words.
    """
    rows = RANKINGS[ranking](words, features, max(COUNTS))[1]
    shift = 1 + Random(seed).randrange(max(1, len(classes) - 1))
    own = [names.families for names in classes]
    heads = [names.with_heads for names in classes]
    frequencies = Frequencies()
    unlisted = [
        [frequencies.zipf(words.entries[row].word) == 0 for row in image] for image in rows[:, :READ].tolist()
    ]
    return Naming(
        _shares(words, rows, own),
        _shares(words, rows, heads),
        _shares(words, rows.roll(shift, dims=0), heads) if len(classes) > 1 else {},
        GroupedShare.of(unlisted),
        skewness(torch.bincount(rows.flatten(), minlength=len(words))),
        ranking,
    )


def skewness(counts: Tensor) -> float:
    """The third standardized moment of some counts (V,); 0 when all are equal."""
    deviation = counts.double() - counts.double().mean()
    variance = deviation.square().mean()
    return float((deviation**3).mean() / variance**1.5) if variance > 0 else 0.0


def _shares(words: Codebook, rows: Tensor, names: Sequence[frozenset[str]]) -> dict[int, Proportion]:
    """Per number of words, the share of images that have one of their names among so many."""
    families = [[words.families[row] for row in image] for image in rows.tolist()]
    return {
        count: Proportion(
            sum(not wanted.isdisjoint(found[:count]) for found, wanted in zip(families, names, strict=True)),
            len(names),
        )
        for count in COUNTS
    }
