"""settings ⇄ YAML: what the clusters of an image depend on, with a text and a range beside every field."""

from __future__ import annotations

from dataclasses import dataclass

from v2l.config import described, ranged
from v2l.tokenizers.clusters.density_peaks import PeakSettings


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
