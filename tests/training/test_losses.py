"""Loss terms: each by its formula, each gradient where it belongs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from v2l.config import TrainingConfig
from v2l.training.discriminator import build_discriminator
from v2l.training.losses import LARGEST_RATIO, adaptive_ratio, discriminator_term, generator_term, reconstruction_terms, weighted_sum


def test_terms_are_the_means_that_their_names_say() -> None:
    images, decoded = torch.rand(2, 3, 8, 8) * 2 - 1, torch.rand(2, 3, 8, 8) * 2 - 1
    terms = reconstruction_terms(images, decoded, None)
    assert terms["l1"].item() == pytest.approx((images - decoded).abs().mean().item())
    assert terms["l2"].item() == pytest.approx(((images - decoded) ** 2).mean().item())
    config = TrainingConfig(l1_weight=2.0, l2_weight=3.0)
    assert weighted_sum(terms, config).item() == pytest.approx(2 * terms["l1"].item() + 3 * terms["l2"].item())


def test_the_hinge_is_zero_for_a_sure_discriminator_and_one_for_an_undecided_one() -> None:
    sure, undecided = torch.full((1, 1, 4, 4), 2.0), torch.zeros(1, 1, 4, 4)
    assert discriminator_term(sure, -sure).item() == 0
    assert discriminator_term(undecided, undecided).item() == 1
    assert generator_term(sure).item() == -2


def test_the_ratio_is_that_of_the_gradients_at_the_last_layer() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    ratio = adaptive_ratio((weight * torch.tensor([3.0, 4.0])).sum(), (weight * torch.tensor([0.0, 0.5])).sum(), weight)
    assert ratio.item() == pytest.approx(5 / (0.5 + 1e-4))
    assert not ratio.requires_grad
    assert adaptive_ratio(weight.sum() * 1e9, weight.sum() * 1e-9, weight).item() == LARGEST_RATIO


def test_the_discriminator_is_the_published_one() -> None:
    network = build_discriminator()
    assert sum(parameter.numel() for parameter in network.parameters()) == 663_361
    assert network(torch.zeros(2, 3, 128, 128)).shape == (2, 1, 30, 30)
    assert network.state_dict()["main.2.weight"].std().item() == pytest.approx(0.02, rel=0.05)
