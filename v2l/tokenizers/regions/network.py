"""feature maps pooled in boxes ──► the vector of each box, as if its crop had been encoded by itself.

Each map has a 3 × 3 convolution. Their sum is flattened and goes through a linear layer, and an MLP of the
box is added. So far as published. Ours: a 1 × 1 convolution brings each map to a common width, in place of
the fusion of a pyramid. The result is added to the mean of the last map, and the sum goes through the frozen
way into the joint space. The last layer starts at zero, so training begins with the regions that need no
training. Source: Groma, arXiv 2404.13013, section 3.2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, relu

from v2l.tokenizers.regions.settings import RegionEncoderSettings


class RegionEncoder(nn.Module):
    """Pooled maps ──► what is added to the mean of the last map.

    Args:
        settings: sizes.
        channels: of each map, the last stage first.
    """

    def __init__(self, settings: RegionEncoderSettings, channels: Sequence[int]) -> None:
        super().__init__()
        self.settings, width, hidden = settings, settings.width, settings.hidden
        self.norms = nn.ModuleList(nn.GroupNorm(1, count) for count in channels)
        self.enter = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.mix = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in channels)
        self.join = nn.Linear(width * settings.pooled**2, hidden)
        self.of_box = nn.Sequential(nn.Linear(4, hidden), nn.GELU(), nn.Linear(hidden, hidden))
        self.drop = nn.Dropout(settings.dropout)
        self.leave = nn.Linear(hidden, channels[0])
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, levels: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """The features of boxes, for `JointEncoder.to_joint_space`.

        Args:
            levels: (N, C, pooled, pooled) of each map, the last stage first.
            boxes: (N, 4) in shares of the image's sides.

        Returns:
            (N, C) of the first map's channels.
        """
        maps = [
            mix(gelu(enter(norm(level))))
            for norm, enter, mix, level in zip(self.norms, self.enter, self.mix, levels, strict=True)
        ]
        joined = self.join(relu(torch.stack(maps).sum(dim=0)).flatten(1)) + self.of_box(boxes)
        added: Tensor = self.leave(self.drop(gelu(joined)))
        return levels[0].mean(dim=(-2, -1)) + added
