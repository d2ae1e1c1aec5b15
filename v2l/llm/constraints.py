"""the ids generated so far ──► the ids that may come next.

The codebook of an image, or a trie of labels: whatever stands here, the LLM chooses among what is allowed and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import torch
from torch import Tensor

Rule = Callable[[tuple[int, ...]], Collection[int]]
Allowed = Collection[int] | Rule | None


class Trie:
    """A set of id sequences that generation must spell one of, whole.

    Args:
        sequences: what may be generated; none empty.
        end: the id that ends a sequence which is also the beginning of another one ("fox" and "fox squirrel").
    """

    def __init__(self, sequences: Iterable[Sequence[int]], end: int) -> None:
        self.end = end
        self.sequences = frozenset(tuple(sequence) for sequence in sequences)
        if not self.sequences or () in self.sequences:
            raise ValueError("a trie holds one sequence or more, and none that is empty")

    def __call__(self, generated: tuple[int, ...]) -> frozenset[int]:
        """The ids that may follow; none when a sequence is complete and no other goes on from it."""
        length = len(generated)
        following = {sequence[length] for sequence in self.sequences if len(sequence) > length and sequence[:length] == generated}
        if following and generated in self.sequences:
            following.add(self.end)
        return frozenset(following)


class PlaceMask:
    """The official code's mask: at each place any id that stands at this place of some sequence, so that sequences can mix.

    Args:
        sequences: what is named; nothing may follow behind the longest.
    """

    def __init__(self, sequences: Iterable[Sequence[int]]) -> None:
        self.sequences = frozenset(tuple(sequence) for sequence in sequences)
        if not self.sequences or () in self.sequences:
            raise ValueError("a mask holds one sequence or more, and none that is empty")

    def __call__(self, generated: tuple[int, ...]) -> frozenset[int]:
        """The ids that may follow, whatever was generated before."""
        place = len(generated)
        return frozenset(sequence[place] for sequence in self.sequences if len(sequence) > place)


class Constraint:
    """What is allowed, applied to logits: everything (None), a fixed set of ids, or a rule asked before each token."""

    def __init__(self, allowed: Allowed) -> None:
        self.rule = allowed if callable(allowed) else None
        self.fixed = None if allowed is None or self.rule else index(allowed)
        if self.fixed is not None and not len(self.fixed):
            raise ValueError("an allowed set of token ids holds at least one")

    def apply(self, logits: Tensor, generated: Sequence[tuple[int, ...]]) -> Tensor:
        """Minus infinity for every id that may not come next; a whole row of it says that the row is complete.

        Args:
            logits: (B, V).
            generated: the new ids of each of the B rows so far.
        """
        if self.rule is None and self.fixed is None:
            return logits
        restricted = torch.full_like(logits, -torch.inf)
        for row, ids in enumerate(generated):
            allowed = (index(self.rule(ids)) if self.rule else self.fixed).to(logits.device)
            restricted[row, allowed] = logits[row, allowed]
        return restricted


def index(ids: Collection[int]) -> Tensor:
    """Ids as a sorted index without doubles."""
    return torch.tensor(sorted({int(i) for i in ids}), dtype=torch.long)
