"""Colours of clusters: the fit is least squares on the cluster's own pixels, and painting inverts it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from v2l.tokenizers.clusters.colour_fields import PENALTY, Fields, fields_of_map, fit_colours, paint_colours

CELLS = torch.tensor([[[0, 0, 1, 1], [0, 0, 1, 1], [0, 2, 2, 1], [2, 2, 2, 2]]])
SIZE = 16


@pytest.fixture(scope="module")
def fields() -> Fields:
    return fields_of_map(CELLS, 4, SIZE, 3)  # the cluster 3 has no cells


@pytest.fixture
def image() -> Tensor:
    return torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_shares_of_a_pixel_sum_to_one_and_follow_the_map(fields: Fields) -> None:
    torch.testing.assert_close(fields.shares.sum(dim=1), torch.ones(1, SIZE, SIZE))
    assert fields.shares[0, 0, :6, :6].min() == 1  # inside; borders are shared
    assert fields.shares[0, 3].max() == 0


def test_cosines_run_over_the_box_of_the_cluster(fields: Fields) -> None:
    # cluster 1: rows 0 to 2 of 4, columns 2 and 3
    for pixel in range(SIZE):
        u = min(max((pixel + 0.5) / 12, 0), 1)
        v = min(max((pixel + 0.5 - 8) / 8, 0), 1)
        for term in range(3):
            assert fields.down[0, 1, pixel, term].item() == pytest.approx(
                math.cos(math.pi * term * u), abs=1e-5
            )
            assert fields.across[0, 1, pixel, term].item() == pytest.approx(
                math.cos(math.pi * term * v), abs=1e-5
            )


def test_the_fit_is_penalised_least_squares(fields: Fields, image: Tensor) -> None:
    found = fit_colours(image, fields)
    for cluster in range(3):
        share = fields.shares[0, cluster].flatten()
        down, across = fields.down[0, cluster], fields.across[0, cluster]
        basis = torch.stack(
            [torch.outer(down[:, i], across[:, j]).flatten() for i in range(3) for j in range(3)], dim=1
        )
        fine = torch.tensor([i * i + j * j for i in range(3) for j in range(3)], dtype=torch.float32)
        gram = basis.T @ (share[:, None] * basis) + torch.diag(PENALTY * fine * share.sum() + 1e-4)
        wanted = torch.linalg.solve(gram, basis.T @ (share[:, None] * image[0].flatten(1).T))  # (9, 3)
        torch.testing.assert_close(found[0, cluster].flatten(1), wanted.T, atol=2e-3, rtol=1e-3)
    assert found[0, 3].abs().max() == 0


def test_one_term_is_the_mean_colour_and_more_terms_come_nearer(image: Tensor) -> None:
    whole = torch.zeros(1, 2, 2, dtype=torch.int64)
    flat = fields_of_map(whole, 1, SIZE, 1)
    means = fit_colours(image, flat)
    torch.testing.assert_close(means[0, 0, :, 0, 0], image.mean(dim=(2, 3))[0], atol=1e-4, rtol=0)
    errors = []
    for terms in (1, 2, 4, 8):
        fields = fields_of_map(CELLS, 3, SIZE, terms)
        errors.append((paint_colours(fit_colours(image, fields), fields) - image).square().mean().item())
    assert errors == sorted(errors, reverse=True)
