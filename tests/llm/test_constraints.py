"""A trie allows exactly its sequences."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from v2l.llm.constraints import Constraint, PositionIds, PositionMask, Trie, WeightedIds

END = 99
SEQUENCES = st.sets(st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple), min_size=1, max_size=6)


def spelled(trie: Trie, generated: tuple[int, ...] = ()) -> set[tuple[int, ...]]:
    """Every sequence that a trie lets through."""
    following = trie(generated)
    if not following:
        return {generated}
    return set().union(
        *({generated} if token == END else spelled(trie, (*generated, token)) for token in following)
    )


@given(SEQUENCES)
def test_a_trie_lets_its_sequences_through_and_no_other(sequences: set[tuple[int, ...]]) -> None:
    assert spelled(Trie(sequences, END)) == sequences


def test_the_end_is_allowed_only_where_a_longer_sequence_goes_on() -> None:
    trie = Trie([(1,), (1, 2), (3,)], END)
    assert (trie(()), trie((1,)), trie((1, 2)), trie((3,))) == ({1, 3}, {2, END}, frozenset(), frozenset())


@pytest.mark.parametrize("sequences", [[], [()], [(1,), ()]])
def test_an_empty_trie_or_label_is_refused(sequences: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="one sequence or more"):
        Trie(sequences, END)


@given(SEQUENCES)
def test_a_position_mask_mixes_its_sequences_and_ends_with_the_longest(
    sequences: set[tuple[int, ...]],
) -> None:
    mask = PositionMask(sequences)
    places = [
        {sequence[place] for sequence in sequences if len(sequence) > place}
        for place in range(max(map(len, sequences)))
    ]
    assert [set(mask((7,) * place).ids.tolist()) for place in range(len(places) + 1)] == [*places, set()]


@pytest.mark.parametrize("sequences", [[], [()], [(1,), ()]])
def test_an_empty_mask_is_refused(sequences: list[tuple[int, ...]]) -> None:
    with pytest.raises(ValueError, match="one sequence or more"):
        PositionMask(sequences)


def test_an_empty_allowed_set_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Constraint(set())


def test_logits_of_allowed_ids_stay_and_others_vanish() -> None:
    logits, none = torch.arange(4.0), -torch.inf
    constraint = Constraint(lambda generated: {len(generated)})
    assert constraint.apply(logits, ()).tolist() == [0.0, none, none, none]
    assert constraint.apply(logits, (5, 5)).tolist() == [none, none, 2.0, none]
    assert torch.equal(Constraint(None).apply(logits, ()), logits)


def test_weights_are_added_to_the_scores_of_the_llm() -> None:
    logits, none = torch.arange(4.0), -torch.inf
    places = PositionIds([WeightedIds(torch.tensor([3, 0]), torch.tensor([-2.0, 5.0]))])
    assert Constraint(places).apply(logits, ()).tolist() == [5.0, none, none, 1.0]


def test_each_position_has_its_own_set_and_end_with_the_last() -> None:
    places = PositionIds([{3, 1}, {2}])
    assert [places(generated).ids.tolist() for generated in [(), (9,), (9, 9)]] == [[1, 3], [2], []]
