"""settings ⇄ YAML: sizes and training of the region encoder, with a text and a range beside every field."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from v2l.config import load_sections
from v2l.sections import ranged
from v2l.tokenizers.member_training import MemberTraining


@dataclass(frozen=True)
class RegionEncoderSettings:
    """The network. The defaults are the paper's, where it gives any."""

    levels: int = ranged(3, 1, 8, "Feature maps that are read, the last stage first; at most the encoder's.")
    pooled: int = ranged(14, 1, 64, "Values a side that RoIAlign gives.")
    width: int = ranged(1024, 1, 8192, "Channels of the convolutions.")
    hidden: int = ranged(1024, 1, 8192, "Width of the layer behind them, and of the MLP of the box.")
    dropout: float = ranged(0.0, 0, 0.9, "Before the last layer.")


@dataclass(frozen=True)
class RegionTraining(MemberTraining):
    """How the region encoder is trained; a batch is of canvases, each with its boxes."""

    canvases: int = ranged(100_000, 2, 10**8, "Canvases of 1 to 9 photographs that the seed draws.")
    boxes: int = ranged(16, 1, 1000, "Boxes in each of them.")


@dataclass(frozen=True)
class RegionConfig:
    """Both parts, as a preset of configs/groma holds them."""

    network: RegionEncoderSettings = field(default_factory=RegionEncoderSettings)
    training: RegionTraining = field(default_factory=RegionTraining)

    @classmethod
    def load(cls, source: str | Path = "small") -> Self:
        """Read a preset or a YAML file.

        Raises:
            V2LError: no such file, an unknown key, or a value of the wrong type or out of its range.
        """
        kinds = {"network": RegionEncoderSettings, "training": RegionTraining}
        return cls(**load_sections(kinds, "groma", source))
