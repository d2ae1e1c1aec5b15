"""image ──► a map of verdicts, real or painted, one per 34 × 34 pixels (taming's door).

Trained against the decoder. Source: PatchGAN, arXiv 1611.07004, section 3.2.2; VQGAN, arXiv 2012.09841, equation 5.
"""

from __future__ import annotations

from taming.modules.discriminator.model import NLayerDiscriminator, weights_init
from torch import nn

CHANNELS, STRIDED_LAYERS = 64, 2


def build_discriminator() -> nn.Module:
    """(B, 3, 128, 128) in [-1, 1] ──► (B, 1, 30, 30) logits; BatchNorm on the middle two layers."""
    network = NLayerDiscriminator(input_nc=3, ndf=CHANNELS, n_layers=STRIDED_LAYERS)
    return network.apply(weights_init)
