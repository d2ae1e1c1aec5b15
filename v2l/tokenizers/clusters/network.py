"""frozen patch features and their clusters ──► one vector for each cluster ──► the image again.

    features ─► merger: a block in each cluster ─► mean ─► a block across clusters ─► linear ─► tokens
    tokens ──► detokenizer: query grid ─► mapper, which reads the tokens ─► ViT blocks ─► pixels

Source: SeTok, arXiv 2406.05127, section 3.2. The convolutions of the pixel head are ours: they smooth the
borders between cells.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot, pixel_shuffle

from v2l.tokenizers.clusters.settings import NetworkSettings
from v2l.tokenizers.positions import sine_positions
from v2l.tokenizers.transformer import Block, WeightedAttention, mlp

REFERENCE = (16, 16)  # the grid whose positions are 0, 1, 2, …; others are at fractions of it
HEAD_CHANNELS, LAST_FACTOR = 32, 2  # of the pixel head: channels, and the last enlargement


class MergedTokens(NamedTuple):
    """The tokens of B images, at most N an image."""

    vectors: Tensor  # (B, N, token_width)
    present: Tensor  # (B, N) float32, 0 at padding


class Painted(NamedTuple):
    """What the network makes of B images."""

    tokens: MergedTokens
    concepts: Tensor  # (B, N, D) unit length, the tokens in the joint space
    images: Tensor  # (B, 3, S, S), about [-1, 1]


class ClusterNetwork(nn.Module):
    """Merger, detokenizer, the head of the concepts, and the baseline's tokens.

    Args:
        settings: sizes.
        channels: C of the frozen features.
        joint_width: D of the joint space, in which concepts have their vectors.
    """

    def __init__(self, settings: NetworkSettings, channels: int, joint_width: int) -> None:
        super().__init__()
        self.merger = Merger(settings, channels)
        self.means = MeanTokens(settings, channels)
        self.detokenizer = Detokenizer(settings)
        self.concepts = nn.Linear(settings.token_width, joint_width)

    def forward(self, features: Tensor, members: Tensor, merged: int) -> Painted:
        """B images ──► their tokens, and the images again.

        Args:
            features: (B, h, w, C).
            members: (B, h · w) int64, the cluster of each patch.
            merged: so many of the images, the first ones, have merged tokens; the others plain means.
        """
        count = int(members.max()) + 1
        first = self.merger(features[:merged], members[:merged], count)
        others = self.means(features[merged:], members[merged:], count)
        tokens = MergedTokens(
            torch.cat([first.vectors, others.vectors]), torch.cat([first.present, others.present])
        )
        concepts = normalize(self.concepts(tokens.vectors), dim=-1)
        return Painted(tokens, concepts, self.detokenizer(tokens))


class Merger(nn.Module):
    """Patches of a cluster read each other and become one vector; then the clusters read each other."""

    def __init__(self, settings: NetworkSettings, channels: int) -> None:
        super().__init__()
        width, heads, ratio = settings.width, settings.heads, settings.mlp_ratio
        self.enter = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))
        self.inside: nn.Module = Block(width, heads, ratio)
        self.across: nn.Module = Block(width, heads, ratio)
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, settings.token_width))

    def forward(self, features: Tensor, members: Tensor, count: int) -> MergedTokens:
        """Features (B, h, w, C) and members (B, h · w) int64 in [0, count) ──► at most `count` tokens."""
        patches = placed(self.enter(features))  # (B, n, width)
        together = (members[:, :, None] == members[:, None]).to(patches)  # (B, n, n)
        rows, present = means_of_clusters(self.inside(patches, together), members, count)
        vectors: Tensor = self.leave(self.across(rows, present[:, None]))
        return MergedTokens(vectors, present)


class MeanTokens(nn.Module):
    """The baseline of the merger: the mean of a cluster's features, with the mean of their positions."""

    def __init__(self, settings: NetworkSettings, channels: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, settings.width))
        self.leave = nn.Linear(settings.width, settings.token_width)

    def forward(self, features: Tensor, members: Tensor, count: int) -> MergedTokens:
        """Features (B, h, w, C) and members (B, h · w) int64 in [0, count) ──► at most `count` tokens."""
        rows, present = means_of_clusters(placed(self.enter(features)), members, count)
        return MergedTokens(self.leave(rows), present)


class MapperLayer(nn.Module):
    """A layer of the mapper: queries read each other and, if `reads`, the tokens; then an MLP."""

    def __init__(self, settings: NetworkSettings, reads: bool) -> None:
        super().__init__()
        width, heads = settings.width, settings.heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.among = WeightedAttention(width, heads)
        self.to_tokens = WeightedAttention(width, heads) if reads else None
        self.mlp = mlp(width, settings.mlp_ratio)

    def forward(self, queries: Tensor, tokens: Tensor, present: Tensor) -> Tensor:
        """Queries (B, m, width), tokens (B, N, width), present (B, N) ──► (B, m, width)."""
        first, second, third = self.norms
        normed = first(queries)
        queries = queries + self.among(normed, normed, queries.new_ones(1, 1, queries.shape[1]))
        if self.to_tokens is not None:
            queries = queries + self.to_tokens(second(queries), tokens, present[:, None])
        read: Tensor = queries + self.mlp(third(queries))
        return read


class Detokenizer(nn.Module):
    """Tokens ──► images: one learned query for each cell of a grid."""

    def __init__(self, settings: NetworkSettings) -> None:
        super().__init__()
        width, cells = settings.width, settings.cells
        self.cells = cells
        self.queries = nn.Parameter(0.02 * torch.randn(cells * cells, width))
        self.enter = nn.Sequential(nn.Linear(settings.token_width, width), nn.LayerNorm(width))
        self.mapper = nn.ModuleList(
            MapperLayer(settings, reads=layer % 2 == 0) for layer in range(settings.mapper_layers)
        )
        self.blocks = nn.ModuleList(
            Block(width, settings.heads, settings.mlp_ratio) for _ in range(settings.decoder_blocks)
        )
        self.head = PixelHead(width, settings.image_size // cells)

    def forward(self, tokens: MergedTokens) -> Tensor:
        """Tokens ──► images (B, 3, S, S), about [-1, 1]."""
        entered = self.enter(tokens.vectors)
        positions = sine_positions((self.cells, self.cells), self.queries.shape[1]).to(entered)
        rows = (self.queries + positions.flatten(0, 1)).expand(len(entered), -1, -1)
        for layer in self.mapper:
            rows = layer(rows, entered, tokens.present)
        for block in self.blocks:
            rows = block(rows)
        images: Tensor = self.head(rows.unflatten(1, (self.cells, self.cells)))
        return images


class PixelHead(nn.Module):
    """Cells (B, h, w, width) ──► pixels (B, 3, h · patch, w · patch); a patch is an even number of pixels."""

    def __init__(self, width: int, patch: int) -> None:
        super().__init__()
        self.factor = patch // LAST_FACTOR
        self.enter = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, HEAD_CHANNELS * self.factor**2))
        self.mix = nn.Conv2d(HEAD_CHANNELS, HEAD_CHANNELS, 3, padding=1)
        self.last = nn.Conv2d(HEAD_CHANNELS, 3 * LAST_FACTOR**2, 3, padding=1)
        for weights in self.last.parameters():
            nn.init.zeros_(weights)  # grey at first: a perceptual term would keep noise alive

    def forward(self, cells: Tensor) -> Tensor:
        maps = pixel_shuffle(self.enter(cells).movedim(-1, 1), self.factor)
        mixed = maps + nn.functional.gelu(self.mix(maps))
        return pixel_shuffle(self.last(mixed), LAST_FACTOR)


def placed(features: Tensor) -> Tensor:
    """Features (B, h, w, C) ──► (B, h · w, C) with their sine positions."""
    grid = (features.shape[1], features.shape[2])
    positions = sine_positions(grid, features.shape[-1], REFERENCE).to(features)
    return (features + positions).flatten(1, 2)


def means_of_clusters(rows: Tensor, members: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The mean of each cluster.

    Args:
        rows: (B, n, C).
        members: (B, n) int64 in [0, count), the cluster of each row.
        count: N, the most clusters of an image.

    Returns:
        (B, N, C), 0 at padding, and which clusters there are, (B, N) float32.
    """
    chosen = one_hot(members, count).to(rows)  # (B, n, N)
    sizes = chosen.sum(dim=1)  # (B, N)
    sums = chosen.transpose(1, 2) @ rows
    return sums / sizes.clamp(min=1)[..., None], (sizes > 0).to(rows)
