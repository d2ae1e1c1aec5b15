"""fields of patches ──► one soft token for each field: the tokenizers projector and sea.

Three maps are added: the two of `fitted.py`, and LLaVA-1.5's two layers with GELU between them
(arXiv 2310.03744, section 3.2), from zero.
"""

from __future__ import annotations

from math import isqrt

from torch import Tensor, nn

from v2l.tokenizers.adapters.fitted import FittedMaps, FittedTokenizer, start_at_zero
from v2l.tokenizers.adapters.model import AdapterSettings
from v2l.tokens import CellGrid, ClusterMap


class Projector(FittedMaps):
    """The fitted maps and a two-layer network, added; the network starts at zero.

    Args:
        settings: sizes of the adapter; the hidden layer is as wide as the LLM's input embeddings.
    """

    def __init__(self, settings: AdapterSettings) -> None:
        super().__init__(settings)
        channels, width = settings.channels, settings.width
        last = nn.Linear(width, width)
        start_at_zero(last)
        self.layers = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width), nn.GELU(), last)

    def forward(self, fields: Tensor, near: Tensor) -> Tensor:
        """Fields (B, N, C), and the same in the joint space (B, N, D) ──► (B, N, width)."""
        soft: Tensor = self.fitted(fields, near) + self.layers(fields)
        return soft


class ProjectorTokenizer(FittedTokenizer):
    """Fitted maps and a two-layer network over patches; each soft token is one field of the image."""

    NAME = "projector"
    network: Projector

    @staticmethod
    def network_of(settings: AdapterSettings) -> Projector:
        return Projector(settings)

    def forward(self, features: Tensor) -> Tensor:
        """Patch features (B, h, w, C) ──► soft tokens (B, N, width), one for each field of patches."""
        fields = self.fields(features)
        soft: Tensor = self.network(fields, self.joint(fields)) * self.adapter.scale
        return soft

    def layout_of(self, features: Tensor) -> CellGrid | ClusterMap | None:
        """√N × √N cells."""
        side = isqrt(self.adapter.tokens)
        return CellGrid(side, side)


class SeaTokenizer(ProjectorTokenizer):
    """The projector, trained with SEA's alignment loss beside the captions."""

    NAME = "sea"
