"""A chart shows every series, and its ticks are round numbers."""

from __future__ import annotations

import pytest

from v2l.chart import COLOURS, HEIGHT, WIDTH, Panel, Series, draw_chart, overlap, ticks

SERIES = (
    Series("tokens", ((512.0, 25.0, 0.2),)),
    Series("codec", ((500.0, 24.0, 0.2), (1000.0, 28.0, 0.2), (2000.0, 31.0, 0.3))),
)


def test_every_series_is_drawn_in_its_colour() -> None:
    page = draw_chart([Panel("PSNR", "bytes", SERIES), Panel("distance", "bytes", SERIES)])
    assert page.shape == (3, HEIGHT, 2 * WIDTH)
    for colour in COLOURS[:2]:
        wanted = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        distance = (page - page.new_tensor(wanted)[:, None, None]).abs().amax(dim=0)
        assert (distance[:, :WIDTH] < 0.02).any()
        assert (distance[:, WIDTH:] < 0.02).any()


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (23.8, 31.2), (0.31, 0.94), (100.0, 4000.0)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 7
    assert all(low <= tick <= high for tick in found)


def test_boxes_that_only_touch_do_not_overlap() -> None:
    assert overlap((0, 0, 2, 2), (1, 1, 3, 3))
    assert not overlap((0, 0, 2, 2), (2, 0, 3, 2))
    assert not overlap((0, 0, 2, 2), (0, 5, 2, 6))


def test_names_of_near_points_do_not_cover_each_other() -> None:
    def ink(*names: str) -> int:
        """Pixels of the first point's colour, its dot and its name."""
        points = [Series(name, ((100.0 + 40 * place, 1.0, 0.0),)) for place, name in enumerate(names)]
        ends = Series("ends", ((10.0, 0.0, 0.0), (1000.0, 2.0, 0.0)))
        page = draw_chart([Panel("", "", (*points, ends))])
        wanted = [int(COLOURS[0][place : place + 2], 16) / 255 for place in (1, 3, 5)]
        return int(((page - page.new_tensor(wanted)[:, None, None]).abs().amax(dim=0) < 0.3).sum())

    dots = ink("", "")
    alone = ink("a long name", "") - dots
    assert alone > 20
    assert ink("a long name", "a long name") - dots == alone
