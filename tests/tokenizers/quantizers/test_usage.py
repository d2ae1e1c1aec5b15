"""Codebook usage: counted over a whole data set, with the reachable codes as denominator."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from v2l.tokenizers.quantizers.usage import CodeUsage


def test_equally_used_codes_have_a_perplexity_of_their_number() -> None:
    usage = CodeUsage(10)
    usage.add(torch.arange(8).repeat(3).view(2, 3, 4))
    assert (usage.used, usage.share, usage.entropy, usage.perplexity) == (8, 0.8, 3.0, pytest.approx(8.0))
    assert usage.to_dict() == {
        "used": 8,
        "of": 10,
        "share": 0.8,
        "entropy_bits": 3.0,
        "perplexity": 8.0,
        "counted": 24,
    }


@given(rows=st.lists(st.integers(0, 6), min_size=1), cut=st.integers(0, 20))
def test_the_figures_do_not_depend_on_how_the_indices_come(rows: list[int], cut: int) -> None:
    whole, parts = CodeUsage(7), CodeUsage(7)
    whole.add(torch.tensor(rows))
    for part in (rows[:cut], rows[cut:]):
        parts.add(torch.tensor(part, dtype=torch.int64))
    assert parts.to_dict() == whole.to_dict()
    assert 1 <= whole.perplexity <= whole.used + 1e-9


def test_nothing_counted_is_no_usage_and_a_row_outside_is_refused() -> None:
    usage = CodeUsage(4)
    assert (usage.used, usage.entropy) == (0, 0.0)
    with pytest.raises(ValueError, match="0 to 3"):
        usage.add(torch.tensor([4]))
