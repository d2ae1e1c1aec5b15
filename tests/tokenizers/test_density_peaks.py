"""Density peaks agree with the formulas read plainly, and with what they are for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from v2l.tokenizers.density_peaks import (
    NOISE,
    PeakSettings,
    densities,
    find_clusters,
    scaled_distances,
    separations,
)

SETTINGS = PeakSettings(neighbours=3, threshold=0.5, if_none=2)


@pytest.fixture
def features() -> Tensor:
    """Three groups of 5, 4 and 3 features of 6 channels."""
    generator = torch.Generator().manual_seed(3)
    middles = 4 * torch.randn(3, 6, generator=generator)
    sizes = torch.tensor([5, 4, 3])
    return middles.repeat_interleave(sizes, dim=0) + 0.3 * torch.randn(12, 6, generator=generator)


def plain_density(features: list[list[float]], k: int) -> list[float]:
    """ρ without noise, read from the paper one number at a time."""
    found = []
    for one in features:
        distances = sorted(plain_distance(one, other) for other in features)
        found.append(math.exp(-sum(d * d for d in distances[:k]) / k))
    return found


def plain_distance(one: list[float], other: list[float]) -> float:
    return math.sqrt(sum((a - b) ** 2 for a, b in zip(one, other, strict=True))) / math.sqrt(len(one))


def plain_separation(features: list[list[float]], density: list[float]) -> list[float]:
    """δ, read from the paper one number at a time."""
    everything = [plain_distance(one, other) for one in features for other in features]
    found = []
    for place, one in enumerate(features):
        denser = [
            plain_distance(one, features[other]) for other, rho in enumerate(density) if rho > density[place]
        ]
        found.append(min(denser) if denser else max(everything))
    return found


def test_distances_densities_and_separations_are_the_published_ones(features: Tensor) -> None:
    rows = features.tolist()
    distances = scaled_distances(features)
    expected = torch.tensor([[plain_distance(one, other) for other in rows] for one in rows])
    torch.testing.assert_close(distances, expected, atol=1e-5, rtol=0)
    density = densities(distances, 3)
    noise = density - torch.tensor(plain_density(rows, 3))
    assert noise.min() > -1e-6
    assert noise.max() < NOISE + 1e-6
    expected = torch.tensor(plain_separation(rows, density.tolist()))
    torch.testing.assert_close(separations(distances, density), expected, atol=1e-5, rtol=0)


def test_the_released_slip_gives_the_densest_feature_its_own_rows_maximum(features: Tensor) -> None:
    distances = scaled_distances(features)
    density = densities(distances, 3)
    published, slip = separations(distances, density), separations(distances, density, row_maxima=True)
    densest = int(density.argmax())
    assert slip[densest] == distances[densest].max()
    assert published[densest] == distances.max()
    others = torch.arange(12) != densest
    assert torch.equal(slip[others], published[others])


def test_each_group_is_one_cluster_and_each_centre_belongs_to_itself(features: Tensor) -> None:
    found = find_clusters(features, SETTINGS)
    assert len(found.centres) == 3
    groups = [found.members[:5], found.members[5:9], found.members[9:]]
    assert [len(group.unique()) for group in groups] == [1, 1, 1]
    assert found.members[found.centres].tolist() == [0, 1, 2]
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_members_join_the_nearest_centre(features: Tensor) -> None:
    found = find_clusters(features, SETTINGS)
    distances = scaled_distances(features)[:, found.centres]
    assert torch.equal(found.members, distances.argmin(dim=1))


def test_a_lower_threshold_gives_more_clusters_up_to_the_most(features: Tensor) -> None:
    counts = [
        len(find_clusters(features, PeakSettings(3, threshold, 1)).centres) for threshold in (9, 0.5, 0.01)
    ]
    assert counts == sorted(counts)
    assert counts[0] == 1
    assert counts[-1] > 3
    assert len(find_clusters(features, PeakSettings(3, 0.01, 1, most=2)).centres) == 2


def test_nothing_above_the_threshold_takes_the_best(features: Tensor) -> None:
    assert len(find_clusters(features, PeakSettings(3, 1e9, if_none=4)).centres) == 4


def test_equal_features_are_one_cluster() -> None:
    for count in (1, 2, 40):
        found = find_clusters(torch.ones(count, 6), PeakSettings(if_none=1))
        assert len(found.centres) == 1
        assert found.members.tolist() == [0] * count


def test_clusters_are_the_same_every_time(features: Tensor) -> None:
    first = find_clusters(features, SETTINGS)
    torch.manual_seed(99)
    again = find_clusters(features, SETTINGS)
    assert torch.equal(first.members, again.members)
