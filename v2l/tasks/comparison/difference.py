"""an image before and after a change ──► the words of what came, and of what went.

With a joint space, a word came if its evidence is larger after than before, and it went if it is smaller.
Without one, the words of one list that the other does not hold came or went.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from v2l.codebook.variety import family
from v2l.tasks.comparison.evidence import best_varied, cosines_of, evidence_of
from v2l.tasks.comparison.group import Group
from v2l.tasks.comparison.shared_words import SharedWord, counted_words
from v2l.tokenizers.word_tagger import WordTagger

LEAST_GAIN = 0.1  # natural logarithm; a word whose evidence changes by less did not change


@dataclass(frozen=True)
class ChangedWord:
    """A word of what came or went.

    Attributes:
        word: as the codebook spells it.
        before: cosine of the word with the image before; None without a joint space.
        after: the same with the image after.
    """

    word: str
    before: float | None = None
    after: float | None = None


@dataclass(frozen=True)
class Difference:
    """What changed between two images.

    Attributes:
        came: words of the second image alone, the surest first.
        went: words of the first image alone.
        stayed: words of both.
    """

    came: tuple[ChangedWord, ...]
    went: tuple[ChangedWord, ...]
    stayed: tuple[SharedWord, ...]


def find_difference(group: Group, count: int) -> Difference:
    """At most `count` words of each list for a group of two images, before and after.

    Raises:
        ValueError: the group has another number of images.
    """
    if len(group.images) != 2:
        raise ValueError(f"got {len(group.images)} images, allowed: 2")
    before, after = (image.words for image in group.images)
    stayed = tuple(word for word in counted_words([before, after], len(before)) if word.images == 2)[:count]
    vectors = group.vectors
    if group.tagger is None or vectors is None:
        return Difference(_only_in(after, before, count), _only_in(before, after, count), stayed)
    cosines = cosines_of(group.tagger.codebook, vectors)  # (2, V)
    gain = evidence_of(cosines).diff(dim=0)[0]  # (V,) after less before
    return Difference(
        _changed(group.tagger, cosines, gain, count), _changed(group.tagger, cosines, -gain, count), stayed
    )


def _changed(tagger: WordTagger, cosines: Tensor, gain: Tensor, count: int) -> tuple[ChangedWord, ...]:
    """The words with the highest gains (V,), as far as they are gains."""
    rows = [row for row in best_varied(tagger.codebook, gain, count) if gain[row] > LEAST_GAIN]
    return tuple(
        ChangedWord(tagger.codebook.entries[row].word, float(cosines[0, row]), float(cosines[1, row]))
        for row in rows
    )


def _only_in(words: Sequence[str], others: Sequence[str], count: int) -> tuple[ChangedWord, ...]:
    """Words of one list without those of the families of the other."""
    known = set(map(family, others))
    return tuple(ChangedWord(word) for word in words if family(word) not in known)[:count]
