"""a group of images ──► the words that all of them share.

With a joint space, the shared words are those with the most evidence in all images together
(`evidence.py`). Without one, they are the words that most of the images have in their own lists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from torch import Tensor

from v2l.codebook.variety import family
from v2l.tasks.comparison.evidence import best_varied, cosines_of, evidence_of
from v2l.tasks.comparison.group import Group


@dataclass(frozen=True)
class SharedWord:
    """A word of a group.

    Attributes:
        word: as the codebook spells it.
        score: mean cosine of the word and the images; without a joint space, the mean score in the lists of
            the images that have it.
        images: in how many images it is one of their own words.
    """

    word: str
    score: float
    images: int


def common_words(group: Group, count: int) -> tuple[SharedWord, ...]:
    """At most `count` words that the images of a group share, the surest first.

    Raises:
        V2LError: the codebook cannot be used.
    """
    vectors = group.vectors
    if group.tagger is None or vectors is None:
        return counted_words([image.words for image in group.images], count)
    cosines = cosines_of(group.tagger.codebook, vectors)
    rows = best_varied(group.tagger.codebook, most_evidence(cosines), count)
    return readable(group, rows, cosines.mean(dim=0))


def counted_words(lists: Sequence[Sequence[str]], count: int) -> tuple[SharedWord, ...]:
    """The words that most lists hold, by their families; of equally many, the one nearer to the beginnings.

    Args:
        lists: the words of each image, nearest first.
        count: at most so many.
    """
    places: dict[str, list[float]] = defaultdict(list)
    spelling: dict[str, str] = {}
    for words in lists:
        for place, word in enumerate(words):
            places[family(word)].append(1 / (1 + place))
            spelling.setdefault(family(word), word)
    ranked = sorted(places, key=lambda name: (-len(places[name]), -fmean(places[name])))
    return tuple(
        SharedWord(spelling[name], fmean(places[name]), len(places[name])) for name in ranked[:count]
    )


def readable(group: Group, rows: Sequence[int], scores: Tensor) -> tuple[SharedWord, ...]:
    """Rows of the codebook and a score for every row (V,) ──► words, with the images that have each."""
    if group.tagger is None:
        raise ValueError("rows of a codebook need a tagger")
    codebook = group.tagger.codebook
    own = [frozenset(map(family, image.words)) for image in group.images]
    return tuple(
        SharedWord(
            codebook.entries[row].word,
            float(scores[row]),
            sum(codebook.families[row] in words for words in own),
        )
        for row in rows
    )


def most_evidence(cosines: Tensor) -> Tensor:
    """Cosines (n, V) of the images and the words ──► (V,): the evidence of all images together."""
    return evidence_of(cosines).sum(dim=0)


def nearest_to_mean(cosines: Tensor) -> Tensor:
    """The baseline: (V,) scores in the order of the cosines with the mean of the images' vectors."""
    return cosines.mean(dim=0)


RANKINGS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "evidence": most_evidence,
    "mean embedding": nearest_to_mean,
}
"""Scores of all words for a group; the first is the one in use."""
