"""the ids generated so far ──► the ids that may come next.

The codebook of an image, or a trie of labels: whatever stands here, the LLM chooses among what is allowed and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Weighted(NamedTuple):
    """Ids that may come next, some rather than others.

    Attributes:
        ids: (n,) int64, different ones.
        logprobs: (n,) float32, added to what the LLM says of each; a number is the same for all.
    """

    ids: Tensor
    logprobs: Tensor | float = 0.0

    def scores(self, logits: Tensor) -> Tensor:
        """Logits (V,) ──► (n,) of these ids, weighted."""
        return logits[self.ids.to(logits.device)] + torch.as_tensor(
            self.logprobs, dtype=logits.dtype, device=logits.device
        )


Ids = Collection[int] | Tensor | Weighted
Rule = Callable[[tuple[int, ...]], Ids]
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
        following = {
            sequence[length]
            for sequence in self.sequences
            if len(sequence) > length and sequence[:length] == generated
        }
        if following and generated in self.sequences:
            following.add(self.end)
        return frozenset(following)


class Places:
    """At each place an id of its own set, whatever was generated before.

    Args:
        places: the sets; nothing may follow behind the last.
    """

    def __init__(self, places: Iterable[Ids]) -> None:
        self.places = [weighted(ids) for ids in places]

    def __call__(self, generated: tuple[int, ...]) -> Weighted:
        """The ids that may follow."""
        place = len(generated)
        return self.places[place] if place < len(self.places) else weighted(())


class PlaceMask(Places):
    """The official code's mask: at each place any id that stands at this place of some sequence, so that sequences can mix.

    Args:
        sequences: what is named; nothing may follow behind the longest.
    """

    def __init__(self, sequences: Iterable[Sequence[int]]) -> None:
        found = {tuple(sequence) for sequence in sequences}
        if not found or () in found:
            raise ValueError("a mask holds one sequence or more, and none that is empty")
        super().__init__(
            {sequence[place] for sequence in found if len(sequence) > place}
            for place in range(max(map(len, found)))
        )


class Constraint:
    """What is allowed, applied to logits: everything (None), a fixed set of ids, or a rule asked before each token."""

    def __init__(self, allowed: Allowed) -> None:
        self.rule = allowed if callable(allowed) else None
        self.fixed = None if allowed is None or self.rule else weighted(allowed)
        if self.fixed is not None and not len(self.fixed.ids):
            raise ValueError("an allowed set of token ids holds at least one")

    def apply(self, logits: Tensor, generated: tuple[int, ...]) -> Tensor:
        """Minus infinity for every id that may not come next; nothing but it says that all is generated.

        Args:
            logits: (V,).
            generated: the new ids so far.
        """
        if self.rule is None and self.fixed is None:
            return logits
        allowed = weighted(self.rule(generated)) if self.rule else self.fixed
        return torch.full_like(logits, -torch.inf).index_copy(
            0, allowed.ids.to(logits.device), allowed.scores(logits)
        )


def weighted(ids: Ids) -> Weighted:
    """Ids of equal weight, sorted and without doubles; those of a tensor are so already."""
    if isinstance(ids, Weighted):
        return ids
    return Weighted(
        ids if isinstance(ids, Tensor) else torch.tensor(sorted({int(i) for i in ids}), dtype=torch.long)
    )
