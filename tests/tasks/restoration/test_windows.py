"""Every hidden cell is predicted once, from known cells only."""

from __future__ import annotations

from random import Random

import torch
from hypothesis import given
from hypothesis import strategies as st

from v2l.tasks.restoration.windows import (
    TokenMap,
    WindowContext,
    cells_above,
    centre_out,
    context_cells,
    hidden_cells,
    hidden_windows,
    nearest_visible,
    visible_examples,
)

CELLS = st.lists(st.booleans(), min_size=2, max_size=40)


@given(CELLS, st.integers(1, 4))
def test_windows_hold_each_hidden_cell_once_and_are_runs(hidden: list[bool], size: int) -> None:
    windows = hidden_windows(hidden, size)
    assert [cell for window in windows for cell in window] == [
        cell for cell, is_hidden in enumerate(hidden) if is_hidden
    ]
    assert all(
        len(window) <= size and window == list(range(window[0], window[0] + len(window)))
        for window in windows
    )


@given(CELLS, st.integers(1, 16), st.data())
def test_context_is_known_cells_nearest_before_the_window(
    known: list[bool], count: int, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(known) - 1))
    cells = context_cells(known, start, count)
    assert all(known[cell] and cell != start for cell in cells)
    assert len(cells) == min(count, sum(known) - known[start])
    distances = [(start - cell) % len(known) for cell in cells]
    assert distances == sorted(distances, reverse=True)


@given(
    st.integers(2, 9), st.integers(1, 8), st.integers(0, 5), st.integers(1, 3), st.integers(0, 3), st.data()
)
def test_examples_never_hold_hidden_cells(
    width: int, height: int, given: int, missing: int, above: int, data: st.DataObject
) -> None:
    hidden = data.draw(st.lists(st.booleans(), min_size=width * height, max_size=width * height))
    ids = [-1 if is_hidden else cell for cell, is_hidden in enumerate(hidden)]
    view = WindowContext(width, given, missing, above)
    for example in visible_examples([TokenMap(ids, hidden, width)], view, 10, Random(0)):
        assert len(example.given) == above + given
        stretch = [*example.given[above:], *example.missing]
        assert stretch == list(range(stretch[0], stretch[0] + given + missing))
        assert all(cell // width == example.missing[0] // width - 1 for cell in example.given[:above])
        assert -1 not in example.given


def test_examples_come_from_every_image_and_repeat_with_their_seed() -> None:
    maps = [TokenMap(range(start, start + 100), [False] * 100, 10) for start in (0, 1000)]
    drawn = [visible_examples(maps, WindowContext(10, 5, 2), 10, Random(seed)) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert {example.given[0] // 1000 for example in drawn[0]} == {0, 1}


@given(CELLS, st.integers(1, 3), st.integers(0, 6), st.data())
def test_cells_above_are_known_ones_over_the_window(
    known: list[bool], size: int, count: int, data: st.DataObject
) -> None:
    width = data.draw(st.integers(1, len(known)))
    start = data.draw(st.integers(0, len(known) - 1))
    window = list(range(start, min(start + size, len(known))))
    cells = cells_above(known, window, count, width)
    assert len(cells) <= count
    assert all(known[cell] and cell // width == start // width - 1 for cell in cells)
    assert cells == sorted(cells)


def test_the_view_shows_what_is_above_and_then_what_is_before() -> None:
    known = [True] * 20 + [False] * 4 + [True] * 8
    assert WindowContext(8, 3, 2, 4).cells(known, [20, 21]) == [11, 12, 13, 14, 17, 18, 19]
    assert WindowContext(8, 0, 2, 0).cells(known, [20, 21]) == []


def test_centre_out_begins_in_the_middle_and_keeps_every_window() -> None:
    windows = hidden_windows([True] * 64, 2)
    ordered = centre_out(windows, (8, 8))
    assert sorted(ordered) == windows
    assert ordered[0] in ([26, 27], [28, 29], [34, 35], [36, 37])
    assert {tuple(window) for window in ordered[-4:]} == {(0, 1), (6, 7), (56, 57), (62, 63)}


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
def test_the_nearest_visible_cells_are_those_of_brute_force(
    height: int, width: int, count: int, data: st.DataObject
) -> None:
    visible = torch.tensor(
        data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    ).view(height, width)
    cell = data.draw(st.integers(0, height * width - 1))
    seen = [place for place, is_visible in enumerate(visible.flatten().tolist()) if is_visible]
    distance = lambda place: (place // width - cell // width) ** 2 + (place % width - cell % width) ** 2  # noqa: E731
    assert nearest_visible(visible, cell, count) == sorted(seen, key=distance)[:count]
