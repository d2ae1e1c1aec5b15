"""frozen patch features and their clusters ──► one vector for each cluster ──► the image again.

    features ─► merger: a block in each cluster ─► mean ─► a block across clusters ─► linear ─► tokens
    tokens ──► detokenizer: query grid ─► mapper, which reads the tokens ─► ViT blocks ─► pixels

On request, ours: a query starts with the tokens that cover its cell (`reads_map`), because the cluster map is
a part of the tokens; and a token ends with the colours of its cluster (`colour_terms`), from which a draft of
the image is painted, to which the network adds what it learns, at first nothing.

Source: SeTok, arXiv 2406.05127, section 3.2. The convolutions of the pixel head are ours: they smooth the
borders between cells.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, normalize, one_hot, pixel_shuffle, pixel_unshuffle

from v2l.tokenizers.clusters.colour_fields import Fields, fields_of_map, fit_colours, paint_colours
from v2l.tokenizers.clusters.settings import NetworkSettings
from v2l.tokenizers.positions import sine_positions
from v2l.tokenizers.transformer import Block, WeightedAttention, mlp

REFERENCE = (16, 16)  # the grid whose positions are 0, 1, 2, …; others are at fractions of it
HEAD_CHANNELS, LAST_FACTOR = 32, 2  # of the pixel head: channels, and the last enlargement


class DividedImages(NamedTuple):
    """B images with their clusters."""

    features: Tensor  # (B, h, w, C), of the patches
    members: Tensor  # (B, h · w) int64, the cluster of each patch
    cells: Tensor  # (B, h', w') int64, the cluster map, as fine as it is
    images: Tensor  # (B, 3, S, S) float32 in [-1, 1]

    def select(self, some: slice) -> DividedImages:
        """Some of the images."""
        return DividedImages(*(each[some] for each in self))


class MergedTokens(NamedTuple):
    """The tokens of B images, at most N an image."""

    vectors: Tensor  # (B, N, vector_width): what is merged, then the colours
    present: Tensor  # (B, N) float32, 0 at padding
    cells: Tensor  # (B, h', w') int64, the cluster map


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
        self.settings = settings
        self.merger = Merger(settings, channels)
        self.means = MeanTokens(settings, channels)
        self.detokenizer = Detokenizer(settings)
        self.concepts = nn.Linear(settings.token_width, joint_width)

    def forward(self, divided: DividedImages, merged: int) -> Painted:
        """B images ──► their tokens, and the images again.

        Args:
            divided: the images.
            merged: so many of the images, the first ones, have merged tokens; the others plain means.
        """
        tokens = self.tokens(divided, merged)
        concepts = normalize(self.concepts(tokens.vectors[..., : self.settings.token_width]), dim=-1)
        return Painted(tokens, concepts, self.detokenizer(tokens))

    def tokens(self, divided: DividedImages, merged: int) -> MergedTokens:
        """The tokens of B images; arguments as `forward`."""
        features, members, cells, images = divided
        count = int(members.max()) + 1
        first, there = self.merger(features[:merged], members[:merged], count)
        others, also = self.means(features[merged:], members[merged:], count)
        vectors, present = torch.cat([first, others]), torch.cat([there, also])
        if self.settings.colour_terms:
            fields = fields_of_map(cells, count, images.shape[-1], self.settings.colour_terms)
            vectors = torch.cat([vectors, fit_colours(images, fields).flatten(2)], dim=-1)
        return MergedTokens(vectors, present, cells)


class Merger(nn.Module):
    """Patches of a cluster read each other and become one vector; then the clusters read each other."""

    def __init__(self, settings: NetworkSettings, channels: int) -> None:
        super().__init__()
        width, heads, ratio = settings.width, settings.heads, settings.mlp_ratio
        self.enter = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))
        self.inside: nn.Module = Block(width, heads, ratio)
        self.across: nn.Module = Block(width, heads, ratio)
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, settings.token_width))

    def forward(self, features: Tensor, members: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Features (B, h, w, C) and members (B, h · w) int64 in [0, count) ──► at most `count` tokens.

        Returns:
            (B, count, token_width), and which there are, (B, count) float32.
        """
        patches = placed(self.enter(features))  # (B, n, width)
        together = (members[:, :, None] == members[:, None]).to(patches)  # (B, n, n)
        rows, present = means_of_clusters(self.inside(patches, together), members, count)
        return self.leave(self.across(rows, present[:, None])), present


class MeanTokens(nn.Module):
    """The baseline of the merger: the mean of a cluster's features, with the mean of their positions."""

    def __init__(self, settings: NetworkSettings, channels: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, settings.width))
        self.leave = nn.Linear(settings.width, settings.token_width)

    def forward(self, features: Tensor, members: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Features (B, h, w, C) and members (B, h · w) int64 in [0, count) ──► as `Merger`."""
        rows, present = means_of_clusters(placed(self.enter(features)), members, count)
        return self.leave(rows), present


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
        self.settings, width, cells = settings, settings.width, settings.cells
        self.queries = nn.Parameter(0.02 * torch.randn(cells * cells, width))
        self.enter = nn.Sequential(nn.Linear(settings.token_width, width), nn.LayerNorm(width))
        self.mapper = nn.ModuleList(
            MapperLayer(settings, reads=layer % 2 == 0) for layer in range(settings.mapper_layers)
        )
        self.blocks = nn.ModuleList(
            Block(width, settings.heads, settings.mlp_ratio) for _ in range(settings.decoder_blocks)
        )
        patch, drafts = settings.image_size // cells, settings.colour_terms > 0
        self.of_draft = nn.Linear(3 * patch**2, width) if drafts else None
        self.head = PixelHead(width, patch, drafts)

    def forward(self, tokens: MergedTokens) -> Tensor:
        """Tokens ──► images (B, 3, S, S), about [-1, 1]."""
        settings, cells = self.settings, self.settings.cells
        entered = self.enter(tokens.vectors[..., : settings.token_width])
        positions = sine_positions((cells, cells), self.queries.shape[1]).to(entered)
        rows = (self.queries + positions.flatten(0, 1)).expand(len(entered), -1, -1)
        fields = self.fields(tokens) if settings.reads_map or self.of_draft is not None else None
        if fields is not None and settings.reads_map:
            shares = avg_pool2d(fields.shares, settings.image_size // cells).flatten(2)  # (B, N, cells²)
            rows = rows + shares.transpose(1, 2) @ entered
        draft = None
        if fields is not None and self.of_draft is not None:
            draft = self.draft(tokens, fields)
            rows = rows + self.of_draft(pixel_unshuffle(draft, settings.image_size // cells).flatten(2).mT)
        for layer in self.mapper:
            rows = layer(rows, entered, tokens.present)
        for block in self.blocks:
            rows = block(rows)
        images: Tensor = self.head(rows.unflatten(1, (cells, cells)), draft)
        return images

    def fields(self, tokens: MergedTokens) -> Fields:
        """Where the clusters lie on the image that is painted."""
        settings = self.settings
        terms = max(1, settings.colour_terms)
        return fields_of_map(tokens.cells, tokens.vectors.shape[1], settings.image_size, terms)

    def draft(self, tokens: MergedTokens, fields: Fields) -> Tensor:
        """The colours of the tokens on the cluster map: images (B, 3, S, S), about [-1, 1]."""
        terms = self.settings.colour_terms
        colours = tokens.vectors[..., self.settings.token_width :].unflatten(-1, (3, terms, terms))
        return paint_colours(colours, fields).clamp(-1, 1)


class PixelHead(nn.Module):
    """Cells (B, h, w, width) ──► pixels (B, 3, h · patch, w · patch); a patch is an even number of pixels.

    With drafts, (B, 3, h · patch, w · patch) each, the result is a draft and a change of it.
    """

    def __init__(self, width: int, patch: int, drafts: bool = False) -> None:
        super().__init__()
        self.factor = patch // LAST_FACTOR
        self.enter = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, HEAD_CHANNELS * self.factor**2))
        read = HEAD_CHANNELS + (3 * LAST_FACTOR**2 if drafts else 0)
        self.mix = nn.Conv2d(read, HEAD_CHANNELS, 3, padding=1)
        self.last = nn.Conv2d(HEAD_CHANNELS, 3 * LAST_FACTOR**2, 3, padding=1)
        for weights in self.last.parameters():
            nn.init.zeros_(weights)  # grey or the draft at first: a perceptual term would keep noise alive

    def forward(self, cells: Tensor, draft: Tensor | None = None) -> Tensor:
        maps = pixel_shuffle(self.enter(cells).movedim(-1, 1), self.factor)
        read = maps if draft is None else torch.cat([maps, pixel_unshuffle(draft, LAST_FACTOR)], dim=1)
        mixed = maps + nn.functional.gelu(self.mix(read))
        change = pixel_shuffle(self.last(mixed), LAST_FACTOR)
        return change if draft is None else draft + change


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
