"""settings ⇄ YAML: clusters, network and training of SeTok, with a text and a range beside every field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from v2l.config import load_sections
from v2l.errors import V2LError
from v2l.sections import choice, described, ranged, section_from_dict
from v2l.tokenizers.density_peaks import PeakSettings
from v2l.tokenizers.member_training import MemberTraining


@dataclass(frozen=True)
class ClusterSettings:
    """How an image is divided. The defaults are the paper's, where it gives any."""

    side: int = ranged(384, 8, 4096, "Pixels of the shorter side that the image encoder sees.")
    neighbours: int = ranged(64, 1, 10**4, "k, the nearest features over which a density is taken.")
    threshold: float = ranged(0.5, 0, 10, "Of density times distance; the lower, the more tokens.")
    if_none: int = ranged(64, 1, 10**4, "Clusters when nothing is above the threshold.")
    most: int = ranged(256, 1, 10**4, "Clusters an image at most.")
    row_maxima: bool = described(False, "As released: the densest feature gets the maximum of its own row.")
    position_weight: float = ranged(1.0, 0, 100, "Of the sine positions beside the features.")
    refine: int = ranged(1, 1, 16, "Cells of the cluster map for each patch and side.")

    @property
    def peaks(self) -> PeakSettings:
        """The part that density peaks read."""
        return PeakSettings(self.neighbours, self.threshold, self.if_none, self.most, self.row_maxima)


@dataclass(frozen=True)
class NetworkSettings:
    """Merger and detokenizer. The defaults are the paper's, where it gives any."""

    width: int = ranged(768, 8, 8192, "Channels of merger and detokenizer.")
    heads: int = ranged(12, 1, 64, "Heads of every attention.")
    mlp_ratio: float = ranged(4.0, 0.5, 8, "Hidden width of the blocks' MLPs, relative to their width.")
    token_width: int = ranged(4096, 2, 16384, "Width of a token; as published, the LLM's.")
    mapper_layers: int = ranged(6, 1, 100, "Layers of the mapper; every second one reads the tokens.")
    decoder_blocks: int = ranged(12, 1, 100, "ViT blocks behind the mapper.")
    cells: int = ranged(24, 1, 1024, "Queries a side, one for each cell of the image that is painted.")
    image_size: int = ranged(384, 2, 4096, "Side in pixels of the image that is painted.")
    reads_map: bool = described(False, "A query starts with the tokens of its cell; as published, no.")
    colour_terms: int = ranged(
        0, 0, 32, "Cosines a side of each cluster's colours, in its token and in the draft; as published, 0."
    )

    @property
    def vector_width(self) -> int:
        """Width of a token with its colours."""
        return self.token_width + 3 * self.colour_terms**2

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise V2LError(f"got width {self.width} with {self.heads} heads", "a multiple of the heads")
        if self.image_size % (2 * self.cells):
            raise V2LError(
                f"got image_size {self.image_size} with {self.cells} cells",
                f"an even number of pixels a cell: a multiple of {2 * self.cells}",
            )


@dataclass(frozen=True)
class TrainedSettings:
    """The sizes of merger and detokenizer.

    Attributes:
        network: as a config has them.
        channels: C of the frozen features.
        joint_width: D of the joint space.
    """

    network: NetworkSettings
    channels: int
    joint_width: int

    @property
    def widths(self) -> tuple[int, int]:
        """C and D."""
        return self.channels, self.joint_width

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `asdict` gave."""
        network = section_from_dict(NetworkSettings, values["network"], "network")
        return cls(network, values["channels"], values["joint_width"])


@dataclass(frozen=True)
class ClusterTraining(MemberTraining):
    """How merger and detokenizer are trained."""

    l1_weight: float = ranged(1.0, 0, 1000, "Weight of the mean absolute error of the pixels.")
    l2_weight: float = ranged(0.0, 0, 1000, "Weight of their mean squared error.")
    perceptual: str = described("lpips-vgg", "Frozen network of the perceptual term; none is off.")
    perceptual_weight: float = ranged(1.0, 0, 1000, "Weight of the perceptual distance.")
    perceptual_start: float = ranged(0.0, 0, 1, "Share of the steps before the perceptual term.")
    concept_weight: float = ranged(0.1, 0, 1000, "Weight of the contrastive loss of the concepts.")
    adversarial_weight: float = ranged(
        0.1, 0, 1000, "Of the adversarial term, before its adaptive ratio; 0 is off."
    )
    adversarial_start: float = ranged(0.5, 0, 1, "Share of the steps before the adversarial term.")
    discriminator_norm: str = choice("batch", ("batch", "group"), "Norm of the discriminator's layers.")
    plain_share: float = ranged(
        0.0, 0, 1, "Share of the images whose tokens are plain means of k-means clusters, the baseline."
    )
    flips: bool = described(True, "Half of the images are seen in a mirror, features and pixels alike.")


@dataclass(frozen=True)
class ClusterConfig:
    """All parts, as a preset of configs/setok holds them."""

    clusters: ClusterSettings = field(default_factory=ClusterSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    training: ClusterTraining = field(default_factory=ClusterTraining)

    @classmethod
    def load(cls, source: str | Path = "small") -> Self:
        """Read a preset or a YAML file.

        Raises:
            V2LError: no such file, an unknown key, or a value of the wrong type or out of its range.
        """
        kinds = {"clusters": ClusterSettings, "network": NetworkSettings, "training": ClusterTraining}
        return cls(**load_sections(kinds, "setok", source))
