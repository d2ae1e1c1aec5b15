"""image ⇄ coefficients: the linear part of the code, one vector for each f × f patch.

Trained. The initial weights are the principal components of patches, because these are the best linear code.
The CNN in parallel learns the rest. Sources: Karhunen-Loève transform; a linear shortcut in parallel to a
deep encoder as in DC-AE, arXiv 2410.10733, section 3.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class PatchTransform(nn.Module):
    """A linear transform between patches of f × f pixels and d coefficients.

    Args:
        channels: C, channels of the image.
        factor: f, side of a patch in pixels.
        width: d, coefficients per patch.
    """

    def __init__(self, channels: int, factor: int, width: int) -> None:
        super().__init__()
        self.analysis = nn.Conv2d(channels, width, kernel_size=factor, stride=factor)
        self.synthesis = nn.ConvTranspose2d(width, channels, kernel_size=factor, stride=factor)

    def encode(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) ──► coefficients (B, d, H / f, W / f)."""
        coefficients: Tensor = self.analysis(images)
        return coefficients

    def decode(self, coefficients: Tensor) -> Tensor:
        """Coefficients (B, d, h, w) ──► images (B, C, h · f, w · f)."""
        images: Tensor = self.synthesis(coefficients)
        return images

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Set the weights to the first d principal components of patches.

        All coefficients have one common scale, so that distances between them are proportional to distances
        between pixels.

        Args:
            images: (n, C, H, W) with n · H · W / f² much larger than d.
        """
        shape = self.analysis.weight.shape  # (d, C, f, f)
        columns = functional.unfold(images, shape[-1], stride=shape[-1])  # (n, C·f·f, cells)
        patches = columns.transpose(1, 2).reshape(-1, shape[1:].numel())  # (n·cells, C·f·f)
        # One mean per channel is enough, because the mean patch varies little from pixel to pixel.
        mean = images.mean(dim=(0, 2, 3))  # (C,)
        centre = mean.repeat_interleave(shape[2:].numel())
        centred = patches - centre
        _, directions = torch.linalg.eigh(centred.T @ centred / len(centred))
        components = directions.flip(-1)[:, : shape[0]].T  # (d, C·f·f), the largest variance first
        scale = (centred @ components.T).square().mean().sqrt()
        self.analysis.weight.copy_((components / scale).view(shape))
        set_bias(self.analysis, -(components @ centre) / scale)
        self.synthesis.weight.copy_((components * scale).view(shape))
        set_bias(self.synthesis, mean)


def set_bias(layer: nn.Conv2d | nn.ConvTranspose2d, values: Tensor) -> None:
    """Set the bias of a convolution to values (C,).

    Raises:
        ValueError: the layer has no bias.
    """
    if layer.bias is None:
        raise ValueError("the layer has no bias")
    layer.bias.copy_(values)
