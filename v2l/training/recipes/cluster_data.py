"""image files ──► frozen features with their clusters, concepts and pixels: what SeTok is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from v2l.images import load_images, resize_and_crop
from v2l.progress import Progress, silent
from v2l.shards import Shards
from v2l.sources import ImageFile, image_version
from v2l.tokenizers.clusters.k_means import k_means_members
from v2l.tokenizers.clusters.model import cluster_points, divide, k_means_map
from v2l.tokenizers.clusters.network import DividedImages
from v2l.tokenizers.clusters.settings import ClusterConfig, ClusterSettings
from v2l.tokenizers.cnn.encoder import to_network_range
from v2l.tokenizers.quantizers.base import nearest
from v2l.tokenizers.word_tagger import WordTagger
from v2l.training.data import shuffled_places
from v2l.training.recipes.patch_data import PatchFeatures, patch_features
from v2l.zoo import cache_home

PEAKS, K_MEANS, CONCEPTS = 0, 1, 2  # the rows of `patches`
SHARD = 256  # images in one file of the cache


class ClusterBatch(NamedTuple):
    """B images; the first `merged` of them have merged tokens, the others plain means."""

    divided: DividedImages
    concepts: Tensor  # (B, h · w) int64, the concept of each patch, a row of the codebook
    merged: int


@dataclass(frozen=True)
class ClusterImages:
    """Training images.

    Attributes:
        features: of n images.
        pixels: (n, 3, S, S) uint8.
        patches: (n, 3, h · w) int32: the cluster of each patch by density peaks, that by k-means with as many
            clusters, and its concept: the word of its cluster, as a row of the codebook.
        maps: (n, 2, h', w') int16: the cluster map by density peaks, and that by k-means.
    """

    features: PatchFeatures
    pixels: Tensor
    patches: Tensor
    maps: Tensor

    def only(self, chosen: Tensor) -> ClusterImages:
        """Some of the images, (n,) bool."""
        return ClusterImages(
            self.features.only(chosen), self.pixels[chosen], self.patches[chosen], self.maps[chosen]
        )

    def batch(self, places: Tensor, plain_share: float = 0.0, flipped: bool = False) -> ClusterBatch:
        """The images at some places, (B,) int64.

        Args:
            places: of the images.
            plain_share: share of them whose clusters are those of k-means: the last ones.
            flipped: whether they are seen in a mirror.
        """
        merged = len(places) - round(plain_share * len(places))
        features, images = self.features.rows[places].float(), self.pixels[places].float() / 255
        patches, maps = self.patches[places].long(), self.maps[places].long()
        members = torch.cat([patches[:merged, PEAKS], patches[merged:, K_MEANS]])
        cells = torch.cat([maps[:merged, PEAKS], maps[merged:, K_MEANS]])
        if flipped:
            grid = features.shape[1:3]
            features, images, cells = features.flip(2), images.flip(3), cells.flip(2)
            members = members.unflatten(1, grid).flip(2).flatten(1)
        divided = DividedImages(features, members, cells, to_network_range(images))
        return ClusterBatch(divided, patches[:, CONCEPTS], merged)

    def batches(self, config: ClusterConfig, size: int, seed: int, steps: range) -> Iterator[ClusterBatch]:
        """A batch of `size` images for each step, a function of seed and step alone."""
        training = config.training
        for step in steps:
            places = shuffled_places(len(self.pixels), size, seed, step)
            yield self.batch(places, training.plain_share, training.flips and step % 2 == 1)


def cluster_images(
    namer: WordTagger,
    files: Sequence[ImageFile],
    config: ClusterConfig,
    device: torch.device,
    progress: Progress = silent,
) -> ClusterImages:
    """Everything that training needs of the centre square of each readable image, kept in the user's cache.

    Args:
        namer: gives the concepts, and the encoder.
        files: images.
        config: how they are divided, and the size of the square that is painted.
        device: where the encoder runs.
        progress: called after every shard.

    Raises:
        V2LError: not one image is readable, or the encoder has no features of patches.
    """
    encoder = namer.joint_encoder(device)
    features = patch_features(encoder, files, config.clusters.side, progress)
    rows: Mapping[ImageFile, int] = {file: row for row, file in enumerate(features.files)}
    versions = [(file, image_version(file)) for file in features.files]
    size, settings = config.network.image_size, config.clusters
    coarse = replace(settings, refine=1)

    def kept(step: str) -> Shards:
        return Shards(cache_home() / "patches", step, progress, SHARD)

    pixels = kept("reading squares").run(
        versions, [str(size)], lambda part: read_squares([file for file, _ in part], size)
    )
    patches = kept("finding clusters").run(
        versions,
        [encoder.fingerprint, repr(coarse), namer.codebook.fingerprint],
        lambda part: divided(namer, features.rows[[rows[file] for file, _ in part]], coarse),
    )
    maps = kept("drawing cluster maps").run(
        versions,
        [encoder.fingerprint, repr(settings), "int16"],
        lambda part: cluster_maps(features.rows[[rows[file] for file, _ in part]], settings),
    )
    return ClusterImages(features, torch.cat(pixels), torch.cat(patches), torch.cat(maps))


def read_squares(files: Sequence[ImageFile], size: int) -> Tensor:
    """Readable image files ──► their centre squares, (n, 3, size, size) uint8."""
    squares = [resize_and_crop(image, size) for _, image in load_images(files)]
    return (torch.stack(squares) * 255).round().to(torch.uint8)


@torch.inference_mode()
def divided(namer: WordTagger, features: Tensor, settings: ClusterSettings) -> Tensor:
    """Features (n, h, w, C) of n images ──► (n, 3, h · w) int32, as `ClusterImages.patches` has them."""
    divisions = [divide(image.float(), settings) for image in features]
    vectors = torch.cat([found.features for found in divisions])
    entries = normalize(namer.codebook.embeddings.float(), dim=-1)
    encoder = namer.joint_encoder()
    concepts = nearest(encoder.to_joint_space(vectors.to(encoder.device)).cpu(), entries)
    of_images = concepts.split([len(found.features) for found in divisions])
    rows = []
    for image, found, own in zip(features, divisions, of_images, strict=True):
        points = cluster_points(image.float(), settings).flatten(0, 1)
        others = k_means_members(points, len(found.features))
        rows.append(torch.stack([found.members, others, own[found.members]]))
    return torch.stack(rows).int()


@torch.inference_mode()
def cluster_maps(features: Tensor, settings: ClusterSettings) -> Tensor:
    """Features (n, h, w, C) of n images ──► (n, 2, h', w') int16, as `ClusterImages.maps` has them."""
    rows = []
    for image in features:
        found = divide(image.float(), settings)
        cells, _ = k_means_map(image.float(), settings, len(found.features))
        rows.append(torch.stack([found.cells, cells]))
    return torch.stack(rows).to(torch.int16)
