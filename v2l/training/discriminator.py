"""image ──► a map of logits, real or reconstructed, one for each 34 × 34 pixels.

Built on taming's network. It is trained against the decoder. Source: PatchGAN, arXiv 1611.07004, section
3.2.2; VQGAN, arXiv 2012.09841, equation 5.
"""

from __future__ import annotations

from typing import cast

from taming.modules.discriminator.model import NLayerDiscriminator, weights_init
from torch import nn

CHANNELS, STRIDED_LAYERS = 64, 2
GROUPS = 32


def build_discriminator(norm: str = "batch") -> nn.Module:
    """(B, 3, 128, 128) in [-1, 1] ──► (B, 1, 30, 30) logits.

    Args:
        norm: of the middle two layers: `batch` as published, or `group`, which looks at one image at a time.
    """
    network: nn.Module = NLayerDiscriminator(input_nc=3, ndf=CHANNELS, n_layers=STRIDED_LAYERS)
    network.apply(weights_init)
    if norm == "group":
        layers = cast(nn.Sequential, network.main)
        for place, layer in enumerate(layers):
            if isinstance(layer, nn.BatchNorm2d):
                layers[place] = nn.GroupNorm(GROUPS, layer.num_features)
    return network
