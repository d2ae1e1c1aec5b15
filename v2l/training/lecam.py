"""logits of a discriminator ──► a penalty that keeps it from becoming too certain (LeCam).

Source: LeCam, arXiv 2104.03310, equation 4. As in TiTok's training, the penalty is of the mean logits of a
batch, and one-sided: real logits above the average of decoded ones, decoded logits below that of real ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DECAY = 0.999  # of the two averages


class LeCamDiscriminator(nn.Module):
    """A discriminator with the moving averages of its mean logits, which a saved state holds with it.

    Args:
        network: images (B, 3, H, W) in [-1, 1] ──► logits (B, 1, h, w).

    Attributes:
        real: (), the average of the mean logits of real images; 0 before the first update.
        decoded: (), the same of decoded images.
    """

    real: Tensor
    decoded: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("real", torch.zeros(()))
        self.register_buffer("decoded", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] ──► logits (B, 1, h, w)."""
        logits: Tensor = self.network(images)
        return logits

    def penalty(self, real: Tensor, decoded: Tensor) -> Tensor:
        """Logits (B, 1, h, w) of real and of decoded images ──► the penalty, () float32."""
        above = torch.relu(real.float().mean() - self.decoded)
        below = torch.relu(self.real - decoded.float().mean())
        return above.square() + below.square()

    @torch.no_grad()
    def follow(self, means: Tensor) -> None:
        """Move the averages towards the mean logits of real and of decoded images, (2,), of all processes."""
        self.real.lerp_(means[0].to(self.real), 1 - DECAY)
        self.decoded.lerp_(means[1].to(self.decoded), 1 - DECAY)
