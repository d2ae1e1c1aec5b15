"""Every hidden cell is told once, from known cells only."""

from __future__ import annotations

from random import Random

import torch
from hypothesis import given
from hypothesis import strategies as st

from v2l.tasks.windows import context_cells, hidden_cells, hidden_windows, nearest_visible, visible_examples

CELLS = st.lists(st.booleans(), min_size=2, max_size=40)


@given(CELLS, st.integers(1, 4))
def test_windows_hold_each_hidden_cell_once_and_are_runs(hidden: list[bool], size: int) -> None:
    windows = hidden_windows(hidden, size)
    assert [cell for window in windows for cell in window] == [cell for cell, is_hidden in enumerate(hidden) if is_hidden]
    assert all(len(window) <= size and window == list(range(window[0], window[0] + len(window))) for window in windows)


@given(CELLS, st.integers(1, 16), st.data())
def test_context_is_known_cells_nearest_before_the_window(known: list[bool], count: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(known) - 1))
    cells = context_cells(known, start, count)
    assert all(known[cell] and cell != start for cell in cells)
    assert len(cells) == min(count, sum(known) - known[start])
    distances = [(start - cell) % len(known) for cell in cells]
    assert distances == sorted(distances, reverse=True)


@given(st.lists(st.booleans(), min_size=4, max_size=60), st.integers(1, 5), st.integers(1, 3), st.integers(0, 12))
def test_examples_never_look_at_hidden_cells(hidden: list[bool], given_length: int, missing: int, count: int) -> None:
    ids = [-1 if is_hidden else cell for cell, is_hidden in enumerate(hidden)]
    examples = visible_examples(ids, hidden, (given_length, missing), count, Random(0))
    assert len(examples) <= count
    for example in examples:
        stretch = [*example.given, *example.missing]
        assert stretch == list(range(stretch[0], stretch[0] + given_length + missing))


def test_examples_repeat_with_their_seed() -> None:
    drawn = [visible_examples(range(100), [False] * 100, (5, 2), 10, Random(seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_cell_is_hidden_when_the_mask_touches_one_pixel_of_it() -> None:
    mask = torch.zeros(32, 48, dtype=torch.bool)
    mask[8, 15] = True  # the last column of the second cell of the second row
    hidden = hidden_cells(mask, (4, 6))
    assert hidden.nonzero().tolist() == [[1, 1]]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**16))
def test_every_masked_pixel_lies_in_a_hidden_cell(height: int, width: int, seed: int) -> None:
    mask = torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) < 0.05
    hidden = hidden_cells(mask, (8, 8))
    for row, column in mask.nonzero().tolist():
        assert hidden[row * 8 // height, column * 8 // width]


@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 12), st.data())
def test_the_nearest_visible_cells_are_those_of_brute_force(height: int, width: int, count: int, data: st.DataObject) -> None:
    visible = torch.tensor(data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))).view(height, width)
    cell = data.draw(st.integers(0, height * width - 1))
    seen = [place for place, is_visible in enumerate(visible.flatten().tolist()) if is_visible]
    distance = lambda place: (place // width - cell // width) ** 2 + (place % width - cell % width) ** 2  # noqa: E731
    assert nearest_visible(visible, cell, count) == sorted(seen, key=distance)[:count]
