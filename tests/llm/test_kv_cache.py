"""A prefix read in parts, padded, shared or continued twice is the prefix read at once."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from v2l.llm import FrozenLLM
from v2l.llm.kv_cache import common_prefix, join, read, read_prompts

ROWS = [[5, 6, 7, 8, 9], [5, 6, 7], [5, 6, 300, 2, 9, 11, 40, 7]]


def full_logits(llm: FrozenLLM, row: list[int]) -> torch.Tensor:
    """Transformers' own pass over one row, with no cache and no padding: the reference."""
    return llm.model(input_ids=torch.tensor([row]), use_cache=False).logits[0, -1].float()


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.inference_mode():
        yield


def test_padded_rows_equal_a_full_pass_over_each(llm: FrozenLLM) -> None:
    logits = read(llm.model, ROWS).prefix.logits
    for row, found in zip(ROWS, logits, strict=True):
        torch.testing.assert_close(found, full_logits(llm, row), atol=1e-4, rtol=0)


def test_a_shared_prefix_equals_a_full_prefill(llm: FrozenLLM) -> None:
    logits = read_prompts(llm.model, ROWS).logits
    for row, found in zip(ROWS, logits, strict=True):
        torch.testing.assert_close(found, full_logits(llm, row), atol=1e-4, rtol=0)


def test_padding_in_the_middle_is_neither_seen_nor_counted(llm: FrozenLLM) -> None:
    first = read(llm.model, ROWS).prefix  # rows of 5, 3 and 8 tokens: the next tokens come after holes
    logits = read(llm.model, [[1, 2], [3], [4, 5, 6]], first).prefix.logits
    for row, more, found in zip(ROWS, [[1, 2], [3], [4, 5, 6]], logits, strict=True):
        torch.testing.assert_close(found, full_logits(llm, row + more), atol=1e-4, rtol=0)


def test_a_prefix_can_be_continued_twice(llm: FrozenLLM) -> None:
    prefix = read(llm.model, [ROWS[0]]).prefix
    once = read(llm.model, [[1, 2, 3]], prefix).prefix.logits
    read(llm.model, [[9, 9, 9, 9]], prefix)
    assert torch.equal(once, read(llm.model, [[1, 2, 3]], prefix).prefix.logits)
    assert prefix.lengths.tolist() == [5]


def test_every_position_has_the_logits_of_its_prefix(llm: FrozenLLM) -> None:
    logits = read(llm.model, ROWS, every=True).logits
    for row, found in zip(ROWS, logits, strict=True):
        for end in range(1, len(row) + 1):
            torch.testing.assert_close(found[end - 1], full_logits(llm, row[:end]), atol=1e-4, rtol=0)


def test_a_row_may_be_selected_many_times(llm: FrozenLLM) -> None:
    prefix = read(llm.model, ROWS).prefix.select([2, 2, 0])
    assert prefix.lengths.tolist() == [8, 8, 5]
    assert torch.equal(prefix.logits[0], prefix.logits[1])


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=2, max_size=5))
def test_the_common_prefix_is_the_longest_that_leaves_every_row_a_token(rows: list[list[int]]) -> None:
    shared = common_prefix(rows)
    assert all(row[:shared] == rows[0][:shared] and len(row) > shared for row in rows)
    assert any(len(row) == shared + 1 for row in rows) or len({row[shared] for row in rows}) > 1


def test_joined_prefixes_go_on_as_they_would_alone(llm: FrozenLLM) -> None:
    prompts = ["a photo of a red dress with flowers", "blue", "a straw hat"]
    alone = [read(llm.model, [llm.encode(prompt)]).prefix for prompt in prompts]
    joined = join(alone)
    ids = llm.encode_pieces(" on a table")
    together = read(llm.model, [ids] * 3, joined).prefix
    assert joined.lengths.tolist() == [len(llm.encode(prompt)) for prompt in prompts]
    for row, prefix in enumerate(alone):
        torch.testing.assert_close(
            together.logits[row], read(llm.model, [ids], prefix).prefix.logits[0], atol=1e-4, rtol=1e-4
        )
        torch.testing.assert_close(joined.logits[row], prefix.logits[0])
