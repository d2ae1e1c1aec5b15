"""image ──► words of its clusters: groups of patches that look alike, as many as the image needs; and back.

Frozen: the joint encoder and the codebook. Trained, if at all: merger and detokenizer. Source: SeTok, arXiv
2406.05127, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import interpolate, layer_norm

from v2l.errors import V2LError
from v2l.images import resize
from v2l.sections import section_from_dict
from v2l.tokenizers.clusters.k_means import k_means
from v2l.tokenizers.clusters.network import ClusterNetwork, DividedImages, MergedTokens
from v2l.tokenizers.clusters.settings import ClusterSettings, TrainedSettings
from v2l.tokenizers.cnn.encoder import to_network_range
from v2l.tokenizers.contract import check_images
from v2l.tokenizers.density_peaks import find_clusters
from v2l.tokenizers.patch_words import mean_features, part_tokens
from v2l.tokenizers.placed_words import PlacedWordsTokenizer, load_tagger
from v2l.tokenizers.positions import sine_positions
from v2l.tokenizers.word_tagger import WordTagger
from v2l.tokens import ClusterMap, VisualTokens

UNIFORM = 2 / 255  # an image whose channels vary less is one cluster; else the padding of a CNN would be seen


class Division(NamedTuple):
    """The clusters of one image, the largest first."""

    cells: Tensor  # (h', w') int64 in [0, N), the cluster of each cell of the map
    members: Tensor  # (h · w) int64 in [0, N), the cluster of each patch
    features: Tensor  # (N, C) float32, the mean features


class ClusterTokenizer(PlacedWordsTokenizer):
    """Images ──► a word and a vector for each cluster of patches.

    Without a trained network a cluster's vector is the mean of its features in the joint space. With one it
    is what the merger gives, and the detokenizer makes an image of the vectors. Words are the same.

    Args:
        settings: how an image is divided.
        namer: gives the words; None is the one that ships.
        trained: sizes of merger and detokenizer; None: nothing is trained.
    """

    NAME = "setok"

    def __init__(
        self,
        settings: ClusterSettings,
        namer: WordTagger | None = None,
        trained: TrainedSettings | None = None,
    ) -> None:
        super().__init__(namer)
        self.cluster_settings, self.trained = settings, trained
        self.network = None if trained is None else ClusterNetwork(trained.network, *trained.widths)

    @torch.inference_mode()
    def encode(self, images: Tensor) -> VisualTokens:
        """(B, 3, H, W) in [0, 1] ──► a word and a vector for each cluster."""
        check_images(images)
        features = self.patch_features(images)
        divisions = self.divide(images, features)
        tokens = self.name_divisions(divisions)
        if self.network is None:
            return tokens
        members = torch.stack([found.members for found in divisions])
        cells = torch.stack([found.cells for found in divisions])
        divided = DividedImages(features, members, cells, self.network_squares(images))
        return replace(tokens, embeddings=self.network.tokens(divided, len(images)).vectors.cpu())

    def network_squares(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] ──► the whole images, (B, 3, S, S) in [-1, 1], as they are painted."""
        assert self.trained is not None
        size = self.trained.network.image_size
        return to_network_range(self.square(images.to(self.device), size))

    @torch.inference_mode()
    def decode(self, tokens: VisualTokens) -> Tensor:
        """The tokens of `encode` ──► images (B, 3, S, S) in [0, 1]; S is `image_size` of the network.

        Raises:
            V2LError: no detokenizer was trained, or the tokens are those of another one.
        """
        if self.network is None or self.trained is None:
            raise V2LError(
                "this checkpoint of setok has no trained detokenizer",
                "setok, or a checkpoint of v2l train-setok",
                "--tokenizer setok",
            )
        vectors, width = tokens.embeddings, self.trained.network.vector_width
        if vectors is None or vectors.shape[-1] != width:
            came = "no vectors" if vectors is None else f"vectors of width {vectors.shape[-1]}"
            raise V2LError(f"got tokens with {came}", f"those of this tokenizer, {width} wide")
        if not isinstance(tokens.layout, ClusterMap):
            raise V2LError("got tokens without a cluster map", "those of this tokenizer")
        mask = torch.ones(vectors.shape[:2]) if tokens.mask is None else tokens.mask
        merged = MergedTokens(
            vectors.to(self.device), mask.to(self.device, torch.float32), tokens.layout.tokens.to(self.device)
        )
        images: Tensor = self.network.detokenizer(merged)
        return ((images + 1) / 2).clamp(0, 1)

    def square(self, images: Tensor, size: int) -> Tensor:
        """(B, 3, H, W) in [0, 1] ──► (B, 3, size, size): the whole image, as `encode` sees it."""
        return resize(images, (size, size))

    @property
    def loss_network(self) -> str:
        return str(self.facts.get("perceptual", "none"))

    def patch_features(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] ──► (B, h, w, C) float32, of the whole images."""
        return self.joint_encoder.patch_features(images, self.cluster_settings.side)

    def divide(self, images: Tensor, features: Tensor) -> list[Division]:
        """Images (B, 3, H, W) with their patch features (B, h, w, C) ──► the clusters of each image."""
        settings = self.cluster_settings
        spread = (images.amax(dim=(2, 3)) - images.amin(dim=(2, 3))).amax(dim=1)  # (B,)
        return [
            undivided(image, settings.refine) if flat else divide(image, settings)
            for image, flat in zip(features, (spread < UNIFORM).tolist(), strict=True)
        ]

    def name_divisions(self, divisions: Sequence[Division]) -> VisualTokens:
        """The clusters of B images ──► a word and a vector for each."""
        vectors = [self.joint_encoder.to_joint_space(found.features) for found in divisions]
        layout = ClusterMap(torch.stack([found.cells.cpu() for found in divisions]))
        return part_tokens(self.namer, vectors, layout)

    def settings(self) -> dict[str, Any]:
        trained = {} if self.trained is None else {"trained": asdict(self.trained)}
        return {**super().settings(), "clusters": asdict(self.cluster_settings), **trained}

    @classmethod
    def build(cls, manifest: Mapping[str, Any], folder: Path) -> Self:
        settings = section_from_dict(ClusterSettings, manifest["clusters"], "clusters")
        trained = manifest.get("trained")
        sizes = None if trained is None else TrainedSettings.from_dict(trained)
        return cls(settings, load_tagger(manifest["words"], folder), sizes)


def divide(features: Tensor, settings: ClusterSettings) -> Division:
    """Patch features (h, w, C) of one image ──► its clusters."""
    points = cluster_points(features, settings)  # (h, w, C')
    found = find_clusters(points.flatten(0, 1), settings.peaks)
    order = found.members.bincount(minlength=len(found.centres)).argsort(descending=True, stable=True)
    members = order.argsort()[found.members]  # the largest cluster has the number 0
    means = mean_features(features.flatten(0, 1), members, len(order))
    if settings.refine == 1:
        return Division(members.view(features.shape[:2]), members, means)
    centres = points.flatten(0, 1)[found.centres[order]]
    return Division(nearest_centres(points, centres, settings.refine), members, means)


def undivided(features: Tensor, factor: int) -> Division:
    """Patch features (h, w, C) ──► one cluster of all h · factor × w · factor cells."""
    rows, columns = (factor * count for count in features.shape[:2])
    cells = torch.zeros(rows, columns, dtype=torch.int64, device=features.device)
    members = cells.new_zeros(features.shape[0] * features.shape[1])
    return Division(cells, members, features.mean(dim=(0, 1))[None])


def cluster_points(features: Tensor, settings: ClusterSettings) -> Tensor:
    """Patch features (h, w, C) ──► points (h, w, C) whose distances decide: unit variance, plus positions."""
    points = layer_norm(features, features.shape[-1:])
    if not settings.position_weight:
        return points
    rows, columns, width = features.shape
    positions = sine_positions((rows, columns), width).to(points)
    return points + settings.position_weight * positions


def nearest_centres(points: Tensor, centres: Tensor, factor: int) -> Tensor:
    """Points (h, w, C) and centres (N, C) ──► (h · factor, w · factor) int64, by interpolated points."""
    fine = interpolate(points.movedim(-1, 0)[None], scale_factor=factor, mode="bilinear")[0].movedim(0, -1)
    return torch.cdist(fine.flatten(0, 1), centres).argmin(dim=1).view(fine.shape[:2])


def k_means_map(
    features: Tensor, settings: ClusterSettings, count: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Patch features (h, w, C) of one image ──► its clusters by k-means, the baseline of density peaks.

    Returns:
        The cluster map (h', w') and the cluster of each patch (h · w), both int64 in [0, count).
    """
    points = cluster_points(features, settings)
    centres = k_means(points.flatten(0, 1), count, seed).to(points)
    members = torch.cdist(points.flatten(0, 1), centres).argmin(dim=1)
    return nearest_centres(points, centres, settings.refine), members
