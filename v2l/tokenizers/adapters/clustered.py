"""clusters of patches ──► one soft token for each cluster: the tokenizer clusters.

Clusters are SeTok's (arXiv 2406.05127, section 3.2), by density peaks of the patch features, and a soft token
is what the projector makes of a cluster's mean feature. Ours: every image has N clusters, so that prompts of
N fields and of N clusters can be compared.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from v2l.errors import V2LError
from v2l.tokenizers.adapters.projector import ProjectorTokenizer
from v2l.tokenizers.density_peaks import PeakSettings, find_clusters
from v2l.tokenizers.patch_words import mean_features
from v2l.tokens import ClusterMap

NEIGHBOURS = 16  # of a density, as in the SeTok that ships


class ClusteredTokenizer(ProjectorTokenizer):
    """The projector over clusters of patches that look alike, the largest first."""

    NAME = "clusters"

    def fields(self, features: Tensor) -> Tensor:
        """Patch features (B, h, w, C) ──► the means of N clusters of each image, (B, N, C).

        Raises:
            V2LError: an image has fewer patches than soft tokens.
        """
        rows = features.to(self.device).float().flatten(1, 2)  # (B, h · w, C)
        count = self.adapter.tokens
        return torch.stack([mean_features(row, members_of(row, count), count) for row in rows])

    def layout_of(self, features: Tensor) -> ClusterMap:
        """Which patches each soft token covers."""
        rows = features.float().flatten(1, 2)
        members = torch.stack([members_of(row, self.adapter.tokens) for row in rows])
        return ClusterMap(members.view(features.shape[:3]).cpu())


def members_of(rows: Tensor, count: int) -> Tensor:
    """Patch features (n, C) of one image ──► the cluster of each, (n,) int64 in [0, count); 0 is the largest.

    Raises:
        V2LError: there are fewer patches than clusters.
    """
    if len(rows) < count:
        raise V2LError(f"got {count} clusters for {len(rows)} patches", "as many as patches", "--tokens 16")
    peaks = PeakSettings(NEIGHBOURS, threshold=math.inf, if_none=count, most=count)
    members = find_clusters(layer_norm(rows, rows.shape[-1:]), peaks).members
    order = members.bincount(minlength=count).argsort(descending=True, stable=True)
    return order.argsort()[members]
