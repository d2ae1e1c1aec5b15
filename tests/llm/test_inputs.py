"""Batches hold every row once, shortest first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from v2l.llm.inputs import batches


@given(st.lists(st.integers(1, 9)), st.integers(1, 4))
def test_every_row_is_in_one_batch_and_lengths_rise(lengths: list[int], size: int) -> None:
    found = list(batches(lengths, size))
    rows = [row for batch in found for row in batch]
    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[row] for row in rows] == sorted(lengths)
    assert all(1 <= len(batch) <= size for batch in found)


def test_a_batch_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="batch size 0"):
        list(batches([1], 0))
