"""frozen patch features ──► tokens of kept patches ──► the features again.

Trained: everything here except the words and the draft, if there is one. Source: LaVIT, arXiv 2309.04669,
section 3.1 and equation 3.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from v2l.tokenizers.positions import sine_positions
from v2l.tokenizers.quantizers.base import nearest
from v2l.tokenizers.selection.draft import Draft, code_space
from v2l.tokenizers.selection.merger import MergerBlock
from v2l.tokenizers.selection.selector import Selector, draw, with_random
from v2l.tokenizers.selection.settings import SelectionSettings, SelectionTraining
from v2l.tokenizers.transformer import Block


class Codes(NamedTuple):
    """Tokens in the space of the codebook."""

    vectors: Tensor  # (B, n, d) as long as the entries, before the lookup
    entries: Tensor  # (B, n, d) the nearest entries, with the gradient of `vectors` (straight-through)
    indices: Tensor  # (B, n) int64 of the nearest entries


class Drawn(NamedTuple):
    """What training sees of B images whose patches are drawn."""

    chosen: Tensor  # (B, n) float32, 0 or 1: what the selector keeps
    kept: Tensor  # (B, n) the same, where some images keep random patches
    codes: Codes
    learned: Tensor | None  # (B, n, d) the learned entries of `codes.indices`, unit length
    rebuilt: Tensor  # (B, n, C)


class SelectionNetwork(nn.Module):
    """Selector, merger, codebook and decoder.

    Args:
        settings: sizes.
        channels: C of the frozen features.
        words: (V, D) unit length, the vectors of the words, for the codebook "words"; D as the joint space.
    """

    entries: Tensor

    def __init__(self, settings: SelectionSettings, channels: int, words: Tensor) -> None:
        super().__init__()
        self.settings, width = settings, settings.width
        heads, ratio = settings.heads, settings.mlp_ratio
        self.reads_words = settings.codebook == "words"
        self.enter = nn.Sequential(nn.LayerNorm(channels), nn.Linear(channels, width))
        self.selector = Selector(width)
        self.merger = nn.ModuleList(MergerBlock(width, heads, ratio) for _ in range(settings.merger_blocks))
        self.joint_width = words.shape[1]
        self.draft = Draft(len(words), channels) if settings.draft else None
        code = self.joint_width + settings.draft * channels if self.reads_words else settings.learned_width
        self.to_code = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.Tanh())
        self.last = nn.Linear(width, code)
        self.from_code = nn.Linear(code, width)
        self.missing = nn.Parameter(0.02 * torch.randn(width))  # what the decoder sees at dropped places
        self.decoder = nn.ModuleList(Block(width, heads, ratio) for _ in range(settings.decoder_blocks))
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, channels))
        if self.reads_words:
            self.register_buffer("entries", words.float(), persistent=False)
        else:
            self.entries = nn.Parameter(torch.randn(settings.learned_size, code))
        nn.init.zeros_(self.last.bias)
        # A vector of unit length has small numbers: without this factor, one step of Adam would replace it.
        self.change_scale = 1.0 if self.draft is None else channels**-0.5
        if self.draft is not None:
            self.of_draft = nn.Linear(channels, width)
            for weights in (*self.last.parameters(), *self.leave[1].parameters()):
                nn.init.zeros_(weights)  # at first nothing is changed

    def forward(
        self, features: Tensor, near: Tensor, training: SelectionTraining, quantizes: bool = True
    ) -> Drawn:
        """Draw which patches are kept, and rebuild the features from their tokens.

        Args:
            features: (B, h, w, C), frozen.
            near: (B, h · w, d) of `starts`.
            training: how patches are drawn.
            quantizes: False rebuilds from the vectors before the lookup.
        """
        patches = self.patches(features)
        chosen = draw(self.selector(patches), training.temperature)
        kept = with_random(chosen, training.varied_ratio)
        codes = self.code(self.merge(patches, kept), near)
        learned = None if self.reads_words else normalize(self.entries, dim=-1)[codes.indices]
        _, h, w, _ = features.shape
        rebuilt = self.rebuild(codes.entries if quantizes else codes.vectors, kept, (h, w))
        return Drawn(chosen, kept, codes, learned, rebuilt)

    def patches(self, features: Tensor) -> Tensor:
        """Frozen features (B, h, w, C) ──► patches (B, h · w, width) with their positions."""
        _, h, w, _ = features.shape
        entered: Tensor = self.enter(features)
        return (entered + sine_positions((h, w), self.settings.width).to(entered)).flatten(1, 2)

    def merge(self, patches: Tensor, kept: Tensor) -> Tensor:
        """Patches (B, n, width) and kept (B, n) ──► tokens (B, n, width), used at kept places only."""
        tokens = patches
        for block in self.merger:
            tokens = block(tokens, patches, kept)
        return tokens

    def starts(self, features: Tensor, joint: Tensor) -> Tensor:
        """Where the vectors of words start, before a token has read anything.

        Args:
            features: (B, h, w, C), frozen.
            joint: (B, h · w, D) unit length, the same patches in the joint space.

        Returns:
            (B, h · w, d), of one length.
        """
        if self.draft is None:
            return joint
        return code_space(normalize(features.flatten(1, 2), dim=-1), joint, self.settings.naming)

    def code_entries(self) -> Tensor:
        """The entries of the codebook, (V, d), of one length."""
        words = normalize(self.entries, dim=-1)
        if self.draft is None:
            return words
        return code_space(self.draft.prototypes, words, self.settings.naming)

    def code(self, tokens: Tensor, near: Tensor) -> Codes:
        """Tokens (B, n, width) ──► their codes.

        Args:
            tokens: what `merge` gave.
            near: (B, n, d) of `starts`. With the codebook "words" a token's vector starts there and is moved
                by what it has read; a learned codebook does not use it.
        """
        moved = self.last(self.to_code(tokens)) * self.change_scale
        vectors = normalize(near + moved if self.reads_words else moved, dim=-1)
        entries = self.code_entries()
        if self.draft is not None:
            vectors = vectors * (1 + self.settings.naming) ** 0.5  # as long as the entries
        indices = nearest(vectors.detach().flatten(0, 1), entries.detach()).view(vectors.shape[:2])
        straight_through = vectors + (entries[indices] - vectors).detach()
        return Codes(vectors, straight_through, indices)

    def unread_codes(self, starts: Tensor) -> Tensor:
        """The prototypes (B, n, C) of the words that patches have before they read anything, of `starts`."""
        entries = self.code_entries()
        indices = nearest(starts.flatten(0, 1), entries).view(starts.shape[:2])
        return entries[indices][..., self.joint_width :]

    def rebuild(self, codes: Tensor, kept: Tensor, grid: tuple[int, int]) -> Tensor:
        """Codes (B, n, d) of kept (B, n) places ──► features (B, n, C)."""
        positions = sine_positions(grid, self.settings.width).to(codes).flatten(0, 1)
        present = kept[..., None]
        tokens = present * self.from_code(codes) + (1 - present) * self.missing + positions
        draft = None
        if self.draft is not None:
            draft = self.draft(codes[..., self.joint_width :], kept, grid)
            tokens = tokens + self.of_draft(draft)
        for block in self.decoder:
            tokens = block(tokens)
        features: Tensor = self.leave(tokens)
        return features if draft is None else draft + self.change_scale * features
