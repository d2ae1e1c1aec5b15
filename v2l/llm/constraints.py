"""the ids generated so far ──► the ids that may come next.

The codebook of an image, or a trie of labels: whatever stands here, the LLM chooses among what is allowed and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import torch
from torch import Tensor

Rule = Callable[[tuple[int, ...]], Collection[int] | Tensor]
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


class Places:
    """At each place an id of its own set, whatever was generated before.

    Args:
        places: the sets; nothing may follow behind the last.
    """

    def __init__(self, places: Iterable[Collection[int]]) -> None:
        self.places = [index(ids) for ids in places]

    def __call__(self, generated: tuple[int, ...]) -> Tensor:
        """The ids that may follow."""
        place = len(generated)
        return self.places[place] if place < len(self.places) else torch.empty(0, dtype=torch.long)


class PlaceMask(Places):
    """The official code's mask: at each place any id that stands at this place of some sequence, so that sequences can mix.

    Args:
        sequences: what is named; nothing may follow behind the longest.
    """

    def __init__(self, sequences: Iterable[Sequence[int]]) -> None:
        found = {tuple(sequence) for sequence in sequences}
        if not found or () in found:
            raise ValueError("a mask holds one sequence or more, and none that is empty")
        super().__init__({sequence[place] for sequence in found if len(sequence) > place} for place in range(max(map(len, found))))


class Constraint:
    """What is allowed, applied to logits: everything (None), a fixed set of ids, or a rule asked before each token."""

    def __init__(self, allowed: Allowed) -> None:
        self.rule = allowed if callable(allowed) else None
        self.fixed = None if allowed is None or self.rule else index(allowed)
        if self.fixed is not None and not len(self.fixed):
            raise ValueError("an allowed set of token ids holds at least one")

    def apply(self, logits: Tensor, generated: tuple[int, ...]) -> Tensor:
        """Minus infinity for every id that may not come next; nothing but it says that all is generated.

        Args:
            logits: (V,).
            generated: the new ids so far.
        """
        if self.rule is None and self.fixed is None:
            return logits
        allowed = (index(self.rule(generated)) if self.rule else self.fixed).to(logits.device)
        return torch.full_like(logits, -torch.inf).index_copy(0, allowed, logits[allowed])


def index(ids: Collection[int] | Tensor) -> Tensor:
    """Ids as a sorted index without doubles; an index is one already."""
    return ids if isinstance(ids, Tensor) else torch.tensor(sorted({int(i) for i in ids}), dtype=torch.long)
