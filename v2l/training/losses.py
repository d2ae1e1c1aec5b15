"""images, decoded images, verdicts ──► named loss terms.

Sources: VQGAN, arXiv 2012.09841, equations 4 to 7; hinge form as in taming-transformers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from v2l.config import TrainingConfig
from v2l.training.perceptual import PerceptualDistance

LARGEST_RATIO = 1e4


def reconstruction_terms(images: Tensor, decoded: Tensor, perceptual: PerceptualDistance | None) -> dict[str, Tensor]:
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


def adaptive_ratio(reconstruction: Tensor, adversarial: Tensor, last_weight: Tensor) -> Tensor:
    """How much stronger the reconstruction pulls at the decoder's last layer than the adversarial term (VQGAN, equation 7).

    Args:
        reconstruction: () the weighted reconstruction and perceptual terms.
        adversarial: () the generator's term.
        last_weight: the weight of the decoder's last convolution.

    Returns:
        () float32 in [0, 10⁴], without gradient.
    """
    pull, push = (torch.autograd.grad(term, last_weight, retain_graph=True)[0].norm() for term in (reconstruction, adversarial))
    return torch.clamp(pull / (push + 1e-4), 0.0, LARGEST_RATIO).detach()
