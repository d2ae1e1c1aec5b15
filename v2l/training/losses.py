"""images, decoded images, verdicts ──► named loss terms.

Sources: VQGAN, arXiv 2012.09841, equations 4 to 7; hinge form as in taming-transformers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from v2l.config import TrainingConfig
from v2l.perceptual import PerceptualDistance

LARGEST_RATIO = 1e4


def reconstruction_terms(
    images: Tensor, decoded: Tensor, perceptual: PerceptualDistance | None
) -> dict[str, Tensor]:
    """The terms that compare an image with its reconstruction, unweighted.

    Args:
        images: (B, 3, H, W) in [-1, 1].
        decoded: the same shape, about [-1, 1].
        perceptual: a frozen network, or None.

    Returns:
        `l1`, `l2` and, with a network, `perceptual`; each () float32.
    """
    difference = decoded.float() - images.float()
    terms = {"l1": difference.abs().mean(), "l2": difference.square().mean()}
    return terms | ({"perceptual": perceptual(decoded, images).mean()} if perceptual else {})


def weighted_sum(terms: dict[str, Tensor], config: TrainingConfig) -> Tensor:
    """The terms of `reconstruction_terms` with the config's weights, () float32."""
    weights = {"l1": config.l1_weight, "l2": config.l2_weight, "perceptual": config.perceptual_weight}
    return sum(weights[name] * term for name, term in terms.items())


def generator_term(verdicts: Tensor) -> Tensor:
    """-mean D(y): what the decoder wants to lower; verdicts (B, 1, h, w) on decoded images."""
    return -verdicts.float().mean()


def discriminator_term(real: Tensor, painted: Tensor) -> Tensor:
    """Hinge: half of mean max(0, 1 - D(x)) + mean max(0, 1 + D(y)); verdicts (B, 1, h, w), y without gradient."""
    return 0.5 * (torch.relu(1 - real.float()).mean() + torch.relu(1 + painted.float()).mean())


class Pulls(NamedTuple):
    """How the reconstruction and the adversarial term pull, each differentiated once."""

    at_images: Tensor  # (2, B, 3, H, W) float32, at the decoded images
    at_layer: Tensor  # (2, P) float32, at the decoder's last layer


def pulls(reconstruction: Tensor, adversarial: Tensor, decoded: Tensor, last_weight: Tensor) -> Pulls:
    """Differentiate both terms down to the decoded images, and from there on to the decoder's last layer.

    Args:
        reconstruction: () the weighted reconstruction and perceptual terms.
        adversarial: () the generator's term.
        decoded: (B, 3, H, W), of which both are functions; its own graph is kept.
        last_weight: the weight of the decoder's last convolution.
    """
    at_images = torch.stack([torch.autograd.grad(term, decoded)[0] for term in (reconstruction, adversarial)])
    at_layer = [
        torch.autograd.grad(decoded, last_weight, pull, retain_graph=True)[0].flatten()
        for pull in at_images.to(decoded.dtype)
    ]
    return Pulls(at_images, torch.stack(at_layer).float())


def adaptive_ratio(at_layer: Tensor) -> Tensor:
    """How much stronger the reconstruction pulls at the decoder's last layer than the adversarial term (VQGAN, equation 7).

    Args:
        at_layer: (2, P), as `pulls` gives it.

    Returns:
        () float32 in [0, 10⁴].
    """
    pull, push = at_layer.norm(dim=1)
    return torch.clamp(pull / (push + 1e-4), 0.0, LARGEST_RATIO)
