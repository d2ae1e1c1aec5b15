"""images, reconstructions, discriminator logits ──► named loss terms.

Sources: VQGAN, arXiv 2012.09841, equations 4 to 7; the hinge form as in taming-transformers.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from v2l.config import TrainingConfig
from v2l.perceptual import PerceptualDistance

MAX_RATIO = 1e4  # of the adaptive weight


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
    weighted = [weights[name] * term for name, term in terms.items()]
    return sum(weighted[1:], start=weighted[0])


def generator_term(logits: Tensor) -> Tensor:
    """-mean D(y): the decoder lowers it; logits (B, 1, h, w) of reconstructions."""
    return -logits.float().mean()


def discriminator_term(real: Tensor, decoded: Tensor) -> Tensor:
    """Hinge loss of the discriminator: ½ mean max(0, 1 - D(x)) + ½ mean max(0, 1 + D(y)).

    The logits are (B, 1, h, w). No gradient flows to the decoded images y.
    """
    return 0.5 * (torch.relu(1 - real.float()).mean() + torch.relu(1 + decoded.float()).mean())


class GradientBalance(NamedTuple):
    """Gradients of the reconstruction term and of the adversarial term, in this order."""

    at_images: Tensor  # (2, B, 3, H, W) float32, at the decoded images
    at_layer: Tensor  # (2, P) float32, at the P weights of the decoder's last layer

    @classmethod
    def of(
        cls, reconstruction: Tensor, adversarial: Tensor, decoded: Tensor, last_weight: Tensor
    ) -> GradientBalance:
        """Differentiate both terms down to the decoded images, and from there on to the decoder's last layer.

        Args:
            reconstruction: () the weighted reconstruction and perceptual terms.
            adversarial: () the generator's term.
            decoded: (B, 3, H, W), of which both are functions; its own graph is kept.
            last_weight: the weight of the decoder's last convolution.
        """
        terms = (reconstruction, adversarial)
        at_images = torch.stack([torch.autograd.grad(term, decoded)[0] for term in terms])
        at_layer = [
            torch.autograd.grad(decoded, last_weight, gradient, retain_graph=True)[0].flatten()
            for gradient in at_images.to(decoded.dtype)
        ]
        return cls(at_images, torch.stack(at_layer).float())


def adaptive_ratio(at_layer: Tensor) -> Tensor:
    """Adaptive weight of the adversarial term: |∇ reconstruction| / (|∇ adversarial| + 10⁻⁴).

    Both gradients are those of the decoder's last layer.

    Source: VQGAN, equation 7.

    Args:
        at_layer: (2, P), as `GradientBalance` holds it.

    Returns:
        () float32 in [0, 10⁴].
    """
    reconstruction, adversarial = at_layer.norm(dim=1)
    return torch.clamp(reconstruction / (adversarial + 1e-4), 0.0, MAX_RATIO)
