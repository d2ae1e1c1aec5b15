"""Loss terms: each by its formula, each gradient where it belongs."""

from __future__ import annotations

import lpips
import pytest
import torch
from torch import nn

from v2l.config import ModelConfig, TrainingConfig
from v2l.perceptual import LPIPSDistance
from v2l.tokenizers.quantizers.build import build_quantizer
from v2l.training.discriminator import build_discriminator
from v2l.training.losses import (
    MAX_RATIO,
    GradientBalance,
    adaptive_ratio,
    discriminator_term,
    generator_term,
    reconstruction_terms,
    weighted_sum,
)


def test_terms_are_the_means_that_their_names_say() -> None:
    images, decoded = torch.rand(2, 3, 8, 8) * 2 - 1, torch.rand(2, 3, 8, 8) * 2 - 1
    terms = reconstruction_terms(images, decoded, None)
    assert terms["l1"].item() == pytest.approx((images - decoded).abs().mean().item())
    assert terms["l2"].item() == pytest.approx(((images - decoded) ** 2).mean().item())
    config = TrainingConfig(l1_weight=2.0, l2_weight=3.0)
    assert weighted_sum(terms, config).item() == pytest.approx(
        2 * terms["l1"].item() + 3 * terms["l2"].item()
    )


def test_the_hinge_is_zero_for_a_sure_discriminator_and_one_for_an_undecided_one() -> None:
    sure, undecided = torch.full((1, 1, 4, 4), 2.0), torch.zeros(1, 1, 4, 4)
    assert discriminator_term(sure, -sure).item() == 0
    assert discriminator_term(undecided, undecided).item() == 1
    assert generator_term(sure).item() == -2


def test_the_ratio_is_that_of_the_gradients_at_the_last_layer() -> None:
    weight = nn.Parameter(torch.randn(3, 4))
    decoded = torch.randn(5, 3) @ weight
    reconstruction, adversarial = decoded.abs().mean(), (decoded * torch.randn(5, 4)).mean()
    wanted = [
        torch.autograd.grad(term, weight, retain_graph=True)[0] for term in (reconstruction, adversarial)
    ]
    balance = GradientBalance.of(reconstruction, adversarial, decoded, weight)
    assert torch.allclose(balance.at_layer, torch.stack(wanted).flatten(1))
    assert adaptive_ratio(balance.at_layer).item() == pytest.approx(
        (wanted[0].norm() / (wanted[1].norm() + 1e-4)).item()
    )
    assert not balance.at_images.requires_grad


def test_the_ratio_is_bounded_and_finite_where_no_gradient_is() -> None:
    assert adaptive_ratio(torch.tensor([[1e9], [1e-9]])).item() == MAX_RATIO
    assert adaptive_ratio(torch.zeros(2, 3)).item() == 0


@pytest.mark.parametrize("kind", ["words", "learned", "cosine", "averaged"])
def test_equal_images_give_finite_gradients_for_every_term(kind: str) -> None:
    torch.manual_seed(0)
    images = torch.zeros(1, 3, 64, 64)  # flat, so that features have length 0 too
    decoded = images.clone().requires_grad_()
    perceptual = LPIPSDistance(lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False), "lpips-squeeze")
    terms = reconstruction_terms(images, decoded, perceptual)
    quantizer = build_quantizer(
        ModelConfig(quantizer=kind, lookup_dim=4), TrainingConfig(), torch.randn(9, 6)
    )
    features = torch.zeros(1, 4, 2, 2, requires_grad=True)
    adversarial = generator_term(build_discriminator()(decoded))
    (sum(terms.values()) + adversarial + quantizer(features).loss).backward()
    assert torch.isfinite(decoded.grad).all()
    assert torch.isfinite(features.grad).all()


def test_the_discriminator_is_the_published_one() -> None:
    network = build_discriminator()
    assert sum(parameter.numel() for parameter in network.parameters()) == 663_361
    assert network(torch.zeros(2, 3, 128, 128)).shape == (2, 1, 30, 30)
    assert network.state_dict()["main.2.weight"].std().item() == pytest.approx(0.02, rel=0.05)


def test_with_group_norm_a_verdict_does_not_depend_on_the_other_images() -> None:
    torch.manual_seed(0)
    images, network = torch.randn(3, 3, 64, 64), build_discriminator("group")
    assert torch.allclose(network(images)[:1], network(images[:1]), atol=1e-5)
    assert sum(parameter.numel() for parameter in network.parameters()) == 663_361
