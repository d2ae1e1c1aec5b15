"""LeCam's penalty equals a plain reading of its definition, and its averages follow the logits."""

from __future__ import annotations

import torch
from torch import nn

from v2l.training.lecam import DECAY, LeCamDiscriminator


def plain_penalty(real: list[float], decoded: list[float], of_real: float, of_decoded: float) -> float:
    """One-sided squares of how far each mean is beyond the other's average."""
    mean_real, mean_decoded = sum(real) / len(real), sum(decoded) / len(decoded)
    return max(0.0, mean_real - of_decoded) ** 2 + max(0.0, of_real - mean_decoded) ** 2


def test_the_penalty_equals_its_definition() -> None:
    discriminator = LeCamDiscriminator(nn.Identity())
    for of_real, of_decoded in ((0.0, 0.0), (0.5, -0.25), (-1.0, 2.0)):
        discriminator.real.fill_(of_real)
        discriminator.decoded.fill_(of_decoded)
        for real, decoded in (([1.0, 2.0], [-1.0, 0.0]), ([-3.0, 1.0], [2.0, 4.0])):
            found = discriminator.penalty(torch.tensor(real), torch.tensor(decoded)).item()
            assert abs(found - plain_penalty(real, decoded, of_real, of_decoded)) < 1e-6


def test_the_penalty_pulls_the_logits_together() -> None:
    real, decoded = torch.tensor([3.0], requires_grad=True), torch.tensor([-3.0], requires_grad=True)
    LeCamDiscriminator(nn.Identity()).penalty(real, decoded).backward()
    assert real.grad is not None
    assert decoded.grad is not None
    assert real.grad > 0 > decoded.grad  # a step against the gradient lowers the one and raises the other


def test_the_averages_follow_slowly_and_are_saved() -> None:
    discriminator = LeCamDiscriminator(nn.Identity())
    for _ in range(2):
        discriminator.follow(torch.tensor([1.0, -2.0]))
    expected = 1 - DECAY**2
    assert torch.allclose(discriminator.real, torch.tensor(expected))
    assert torch.allclose(discriminator.decoded, torch.tensor(-2 * expected))
    assert {"real", "decoded"} <= discriminator.state_dict().keys()
