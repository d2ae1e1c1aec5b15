"""Wilson's interval holds known values and its share; PSNR is of each image alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from v2l.metrics import Mean, Proportion, psnr


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_lies_in_the_unit(counts: tuple[int, int]) -> None:
    share = Proportion(*counts)
    low, high = share.interval
    assert 0 <= low <= share.value + 1e-12
    assert share.value - 1e-12 <= high <= 1


@pytest.mark.parametrize(("successes", "n", "low", "high"), [(50, 100, 0.4038, 0.5962), (0, 10, 0.0, 0.2775), (90, 100, 0.8256, 0.9448)])
def test_known_intervals(successes: int, n: int, low: float, high: float) -> None:
    assert Proportion(successes, n).interval == pytest.approx((low, high), abs=1e-4)


def test_people_and_programs_read_the_same_figures() -> None:
    share = Proportion(90, 100)
    assert str(share) == "90.0% (82.6% to 94.5%)"
    assert share.to_dict() == {"value": 0.9, "interval": list(share.interval)}


def test_psnr_is_that_of_each_image_alone() -> None:
    images = torch.zeros(2, 3, 8, 8)
    others = torch.stack([torch.full((3, 8, 8), 0.1), torch.full((3, 8, 8), 0.01)])
    assert psnr(images, others).tolist() == pytest.approx([20.0, 40.0], abs=1e-3)


@given(st.integers(1, 500))
def test_the_interval_of_all_or_none_ends_exactly_there(n: int) -> None:
    assert Proportion(n, n).interval[1] == 1
    assert Proportion(0, n).interval[0] == 0


def test_a_mean_lies_in_the_middle_of_its_interval() -> None:
    mean = Mean.of([1.0, 2.0, 3.0, 4.0])
    low, high = mean.interval
    assert mean.value == 2.5
    assert low + high == pytest.approx(5.0)
    assert high - low == pytest.approx(2 * 1.959964 * 1.2909944 / 2)  # sample standard deviation over √4


def test_a_single_sample_has_no_interval() -> None:
    assert Mean.of([3.0]).to_dict() == {"value": 3.0, "interval": None}
