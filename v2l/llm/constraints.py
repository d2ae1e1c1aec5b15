"""the ids generated so far ──► the ids that may come next, with additive log-weights.

The LLM chooses among these ids only: among the words of a codebook, for example, or along a trie of labels.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class WeightedIds(NamedTuple):
    """Allowed next-token ids with additive log-weights.

    Attributes:
        ids: (n,) int64, no id twice.
        logprobs: (n,) float32, added to the LLM's score of each id; one number counts for all ids.
    """

    ids: Tensor
    logprobs: Tensor | float = 0.0

    def scores(self, logits: Tensor) -> Tensor:
        """Logits (V,) ──► (n,) of these ids, weighted."""
        weights = torch.as_tensor(self.logprobs, dtype=logits.dtype, device=logits.device)
        return logits[self.ids.to(logits.device)] + weights


IdSet = Collection[int] | Tensor
Ids = IdSet | WeightedIds
NextIds = Callable[[tuple[int, ...]], Ids]
Allowed = IdSet | WeightedIds | NextIds | None


class Trie:
    """A set of id sequences: a generation is exactly one of them.

    Args:
        sequences: at least one, and none empty.
        end: the id that ends a sequence which begins another one, as "fox" begins "fox squirrel".
    """

    def __init__(self, sequences: Iterable[Sequence[int]], end: int) -> None:
        self.end = end
        self.sequences = frozenset(tuple(sequence) for sequence in sequences)
        if not self.sequences or () in self.sequences:
            raise ValueError("a trie holds one sequence or more, and none that is empty")

    def __call__(self, generated: tuple[int, ...]) -> frozenset[int]:
        """The next ids; none when a sequence is complete and no other one continues it."""
        length = len(generated)
        following = {
            sequence[length]
            for sequence in self.sequences
            if len(sequence) > length and sequence[:length] == generated
        }
        if following and generated in self.sequences:
            following.add(self.end)
        return frozenset(following)


class PositionIds:
    """A set of ids for each position, independent of the ids before it.

    Args:
        positions: the sets; a generation ends after the last one.
    """

    def __init__(self, positions: Iterable[Ids]) -> None:
        self.positions = [weighted_ids(ids) for ids in positions]

    def __call__(self, generated: tuple[int, ...]) -> WeightedIds:
        """The ids of the next position; none after the last one."""
        position = len(generated)
        return self.positions[position] if position < len(self.positions) else weighted_ids(())


class PositionMask(PositionIds):
    """The official code's mask: a position allows the ids of all sequences there, so sequences can mix.

    Args:
        sequences: at least one, and none empty; a generation ends after the longest.
    """

    def __init__(self, sequences: Iterable[Sequence[int]]) -> None:
        found = {tuple(sequence) for sequence in sequences}
        if not found or () in found:
            raise ValueError("a mask holds one sequence or more, and none that is empty")
        super().__init__(
            {sequence[position] for sequence in found if len(sequence) > position}
            for position in range(max(map(len, found)))
        )


class Constraint:
    """A restriction of logits: none, a fixed set of ids, or a function that is called before each token."""

    def __init__(self, allowed: Allowed) -> None:
        self.next_ids = allowed if callable(allowed) else None
        self.fixed = None if allowed is None or callable(allowed) else weighted_ids(allowed)
        if self.fixed is not None and not len(self.fixed.ids):
            raise ValueError("an allowed set of token ids holds at least one")

    def apply(self, logits: Tensor, generated: tuple[int, ...]) -> Tensor:
        """Set the logits of all other ids to minus infinity; all are so when no id may come next.

        Args:
            logits: (V,).
            generated: the new ids so far.
        """
        allowed = weighted_ids(self.next_ids(generated)) if self.next_ids else self.fixed
        if allowed is None:
            return logits
        nothing = torch.full_like(logits, -torch.inf)
        return nothing.index_copy(0, allowed.ids.to(logits.device), allowed.scores(logits))


def weighted_ids(ids: Ids) -> WeightedIds:
    """Ids of equal weight, sorted and without doubles; those of a tensor must be so already."""
    if isinstance(ids, WeightedIds):
        return ids
    if isinstance(ids, Tensor):
        return WeightedIds(ids)
    return WeightedIds(torch.tensor(sorted({int(i) for i in ids}), dtype=torch.long))
