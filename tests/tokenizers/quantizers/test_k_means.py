"""k-means finds the clusters of features, whatever their number."""

from __future__ import annotations

import torch

from v2l.tokenizers.quantizers.k_means import k_means

CENTRES = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])


def features(count: int) -> torch.Tensor:
    noise = torch.randn(count, 2, generator=torch.Generator().manual_seed(0))
    return CENTRES[torch.arange(count) % 3] + 0.1 * noise


def test_it_lowers_the_distance_below_that_of_random_features() -> None:
    torch.manual_seed(0)
    rows = features(300)
    distances = [torch.cdist(rows, k_means(rows, 8, rounds)).amin(dim=1).square().mean() for rounds in (0, 5)]
    assert distances[1] < 0.8 * distances[0]


def test_a_centre_is_the_mean_of_its_features() -> None:
    torch.manual_seed(0)
    found = k_means(features(30), 30, rounds=1)
    assert torch.allclose(found.sort(dim=0).values, features(30).sort(dim=0).values, atol=1e-3)


def test_fewer_features_than_centres_are_enough() -> None:
    assert k_means(features(3), 10).shape == (10, 2)
    assert k_means(features(3), 10).isfinite().all()
