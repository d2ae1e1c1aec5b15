"""A map fitted to parts of its rows is the map of the plain formula on all of them."""

from __future__ import annotations

import torch

from v2l.tokenizers.adapters.ridge import RidgeFit

D, WIDTH = 6, 16


def test_a_fitted_map_is_the_ridge_regression_of_all_rows() -> None:
    torch.manual_seed(0)
    rows, targets, ridge = torch.randn(200, D).double() + 1, torch.randn(200, WIDTH).double(), 0.3
    fit, layer = RidgeFit(D, WIDTH), torch.nn.Linear(D, WIDTH)
    for part, wanted in zip(rows.split(64), targets.split(64), strict=True):
        fit.add(part, wanted)
    fit.solve(layer, ridge)
    x, y = rows - rows.mean(dim=0), targets - targets.mean(dim=0)
    strength = ridge * x.square().mean() * len(x)
    weight = torch.linalg.inv(x.T @ x + strength * torch.eye(D).double()) @ x.T @ y
    expected = x @ weight + targets.mean(dim=0)
    assert torch.allclose(layer.double()(rows), expected, atol=1e-5)


def test_without_ridge_a_linear_map_is_found_again() -> None:
    torch.manual_seed(0)
    rows = torch.randn(200, D)
    targets = rows @ torch.randn(D, WIDTH) + torch.randn(WIDTH)
    fit, layer = RidgeFit(D, WIDTH), torch.nn.Linear(D, WIDTH)
    fit.add(rows, targets)
    fit.solve(layer, 1e-6)
    assert torch.allclose(layer(rows), targets, atol=1e-3)
