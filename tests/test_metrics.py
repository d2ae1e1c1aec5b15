"""Intervals hold their share, figures of images are of each image alone, and distances of sets are exact."""

from __future__ import annotations

from math import inf, nan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from v2l.metrics import (
    FrechetDistance,
    GroupedShare,
    Mean,
    Proportion,
    RankCorrelation,
    luma,
    luma_psnr,
    psnr,
    ssim,
)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_holds_the_share_and_lies_in_the_unit(counts: tuple[int, int]) -> None:
    share = Proportion(*counts)
    low, high = share.interval
    assert 0 <= low <= share.value + 1e-12
    assert share.value - 1e-12 <= high <= 1


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(50, 100, 0.4038, 0.5962), (0, 10, 0.0, 0.2775), (90, 100, 0.8256, 0.9448)],
)
def test_known_intervals(successes: int, n: int, low: float, high: float) -> None:
    assert Proportion(successes, n).interval == pytest.approx((low, high), abs=1e-4)


def test_people_and_programs_read_the_same_figures() -> None:
    share = Proportion(90, 100)
    assert str(share) == "90.0% (82.6% to 94.5%)"
    assert share.to_dict() == {"value": 0.9, "interval": list(share.interval)}


@given(st.integers(2, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_things_that_are_each_a_group_have_the_interval_of_a_proportion(counts: tuple[int, int]) -> None:
    successes, n = counts
    share = GroupedShare.of([[1.0]] * successes + [[0.0]] * (n - successes))
    assert share.value == pytest.approx(successes / n)
    assert share.interval == pytest.approx(Proportion(successes, n).interval)


def test_groups_whose_things_agree_count_once_each() -> None:
    share = GroupedShare.of([[1.0] * 8] * 5 + [[0.0] * 8] * 15)
    assert (share.value, share.n, share.groups) == (0.25, 160, 20)
    assert share.interval == pytest.approx(Proportion(5, 20).interval, abs=0.01)
    assert str(share).startswith("25.0% (")


def test_the_standard_error_of_groups_of_equal_size_is_that_of_the_mean_of_their_shares() -> None:
    groups = [[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]]
    mean = Mean.of([sum(group) / 4 for group in groups])
    share = GroupedShare.of(groups)
    assert share.value == mean.value
    assert share.error == pytest.approx(mean.half_width / 1.959964)
    assert GroupedShare.of([*groups, []]) == share


def test_nothing_found_in_a_few_groups_is_not_certainly_nothing() -> None:
    assert GroupedShare.of([[0.0] * 9] * 12).interval == pytest.approx(Proportion(0, 12).interval)
    assert GroupedShare.of([[0.0, 1.0]]).to_dict() == {"value": 0.5, "interval": None}


def test_things_with_one_label_are_one_group() -> None:
    labelled = GroupedShare.of_labelled([1.0, 0.0, 1.0], ["a", "b", "a"])
    assert labelled == GroupedShare.of([[1.0, 1.0], [0.0]])


@pytest.mark.parametrize(("samples", "value"), [([1.0, inf], inf), ([nan, 1.0], nan), ([inf, -inf], nan)])
def test_a_mean_of_samples_without_a_limit_has_no_interval(samples: list[float], value: float) -> None:
    found = Mean.of(samples).to_dict()
    assert found["value"] == pytest.approx(value, nan_ok=True)
    assert found["interval"] is None


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


def test_psnr_equals_the_formula() -> None:
    images, others = torch.rand(3, 3, 16, 24), torch.rand(3, 3, 16, 24)
    squared = (images - others).square().mean(dim=(1, 2, 3))
    assert torch.allclose(psnr(images, others), -10 * squared.log10(), atol=1e-4)


def test_brightness_is_as_jpeg_has_it() -> None:
    images = torch.rand(2, 3, 8, 8)
    red, green, blue = images.unbind(1)
    assert torch.allclose(luma(images)[:, 0], 0.299 * red + 0.587 * green + 0.114 * blue)
    grey, other = torch.rand(2, 1, 8, 8).expand(2, 3, 8, 8), torch.rand(2, 1, 8, 8).expand(2, 3, 8, 8)
    assert torch.allclose(luma_psnr(grey, other), psnr(grey, other), atol=1e-3)


def test_structure_is_whole_in_equal_images_and_less_in_others() -> None:
    images = torch.rand(2, 3, 32, 32)
    assert ssim(images, images).tolist() == pytest.approx([1.0, 1.0])
    assert (ssim(images, (images + 0.2 * torch.randn(2, 3, 32, 32)).clamp(0, 1)) < 0.99).all()


def frechet(features: torch.Tensor, others: torch.Tensor) -> float:
    """The distance, from batches of four."""
    distance = FrechetDistance(features.shape[1])
    for some, other in zip(features.split(4), others.split(4), strict=True):
        distance.add(some, other)
    return distance.value


@pytest.mark.parametrize("samples", [8, 200])
def test_a_set_has_no_distance_to_itself(samples: int) -> None:
    features = torch.randn(samples, 64)
    assert frechet(features, features) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("samples", [8, 200])
def test_a_shift_is_its_squared_length(samples: int) -> None:
    features = torch.randn(samples, 64)
    assert frechet(features + 0.5, features) == pytest.approx(64 * 0.25, rel=1e-4)


def test_fewer_samples_than_features_are_exact_too() -> None:
    features, others = torch.rand(8, 64), torch.rand(8, 64) * 0.5
    centred, other_centred = ((x - x.mean(0)).double() / 7**0.5 for x in (features, others))
    crossed = torch.linalg.svdvals(
        centred @ other_centred.T
    ).sum()  # the trace of √(Σ₁ Σ₂), from factors of Σ₁ and Σ₂
    means = (features.mean(0) - others.mean(0)).square().sum()
    exact = means + centred.square().sum() + other_centred.square().sum() - 2 * crossed
    assert frechet(features, others) == pytest.approx(exact.item(), rel=1e-4)


def test_the_rank_correlation_is_spearmans_with_shared_ranks() -> None:
    first, second = [3, 1, 4, 1, 5, 9, 2, 6], [2.0, 7.0, 1.0, 8.0, 2.0, 8.0, 1.0, 8.0]
    found = RankCorrelation.of(first, second)
    assert found.value == pytest.approx(spearmanr(first, second).statistic)
    low, high = found.interval
    assert low < found.value < high
    assert RankCorrelation.of([1, 2, 3, 4], [5, 6, 7, 8]).value == pytest.approx(1)
