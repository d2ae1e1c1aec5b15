"""patches ──► latents, and latents ──► patches: the two vision transformers of TiTok.

Names and shapes of the weights are those of the release. Source: TiTok, arXiv 2406.07550, section 3.2.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from v2l.tokenizers.latents.settings import LatentSettings

MLP_RATIO = 4


class Block(nn.Module):
    """Self-attention, then an MLP, each with a norm before it and a skip connection around it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        layers = [
            ("c_fc", nn.Linear(width, MLP_RATIO * width)),
            ("gelu", nn.GELU()),
            ("c_proj", nn.Linear(MLP_RATIO * width, width)),
        ]
        self.mlp = nn.Sequential(OrderedDict(layers))

    def forward(self, tokens: Tensor, hidden: Tensor | None = None) -> Tensor:
        """(B, T, width) ──► the same; `hidden` (T, T) is True where a row must not attend to a column."""
        normed = self.ln_1(tokens)
        tokens = tokens + self.attn(normed, normed, normed, attn_mask=hidden, need_weights=False)[0]
        mixed: Tensor = tokens + self.mlp(self.ln_2(tokens))
        return mixed


class LatentEncoder(nn.Module):
    """[CLS], patches and learned latents ──► codes of the latents, before the lookup.

    With several lengths a latent attends only to the patches and to latents of its own length or a shorter
    one. The first 16 latents are then the same, whatever follows them.

    Args:
        settings: sizes.
        channels: of what the encoder reads.
        cell: side of what one patch covers, in pixels or in the grid's cells.
    """

    def __init__(self, settings: LatentSettings, channels: int, cell: int) -> None:
        super().__init__()
        width, scale = settings.width, settings.width**-0.5
        self.blocks, self.places = settings.blocks, settings.grid**2 + 1
        self.patch_embed = nn.Conv2d(channels, width, kernel_size=cell, stride=cell)
        self.class_embedding = nn.Parameter(scale * torch.randn(1, width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(self.places, width))
        self.latent_token_positional_embedding = nn.Parameter(scale * torch.randn(settings.latents, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = nn.ModuleList(Block(width, settings.heads) for _ in range(settings.encoder_layers))
        self.conv_out = nn.Conv2d(width, settings.code_width, kernel_size=1)

    def forward(self, patches: Tensor, latents: Tensor) -> Tensor:
        """Compute the codes of the first latents.

        Args:
            patches: (B, C, H, W), pixels in [0, 1] or features.
            latents: (n, width) learned, the first n of all.

        Returns:
            (B, n, code_width) float32.
        """
        seen: Tensor = self.patch_embed(patches).flatten(2).transpose(1, 2)  # (B, grid², width)
        start = self.class_embedding.expand(len(seen), 1, -1)
        seen = torch.cat([start, seen], dim=1) + self.positional_embedding
        asked = latents + self.latent_token_positional_embedding[: len(latents)]
        tokens = self.ln_pre(torch.cat([seen, asked.expand(len(seen), -1, -1)], dim=1))
        hidden = self.hidden(len(latents)).to(tokens.device) if len(self.blocks) > 1 else None
        for block in self.transformer:
            tokens = block(tokens, hidden)
        return self.code(self.ln_post(tokens[:, self.places :]))

    def code(self, latents: Tensor) -> Tensor:
        """Latents (B, n, width) ──► (B, n, code_width)."""
        codes: Tensor = self.conv_out(latents.transpose(1, 2)[..., None])  # (B, code_width, n, 1)
        return codes[..., 0].transpose(1, 2)

    def hidden(self, count: int) -> Tensor:
        """(T, T) bool of [CLS], patches and `count` latents: True where a row does not see a column."""
        ends = [0, *(index for index, (first, end) in enumerate(self.blocks, 1) for _ in range(first, end))]
        order = torch.tensor([0] * self.places + ends[1 : 1 + count])
        return order[None, :] > order[:, None]


class LegacyEncoder(LatentEncoder):
    """The encoder of the released L-32, B-64 and S-128.

    They view latents (L, width) as (width, L) without transposing, and were trained that way.
    """

    def code(self, latents: Tensor) -> Tensor:
        """Latents (B, L, width) ──► (B, L, code_width)."""
        batch, count, width = latents.shape
        codes: Tensor = self.conv_out(latents.reshape(batch, width, count, 1))
        return codes[..., 0].transpose(1, 2)


class LatentDecoder(nn.Module):
    """[CLS], mask tokens and entries ──► a vector for each patch.

    Args:
        settings: sizes.
        channels: of the vector.
    """

    def __init__(self, settings: LatentSettings, channels: int) -> None:
        super().__init__()
        width, scale = settings.width, settings.width**-0.5
        self.grid = settings.grid
        self.decoder_embed = nn.Linear(settings.code_width, width)
        self.class_embedding = nn.Parameter(scale * torch.randn(1, width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(self.grid**2 + 1, width))
        self.mask_token = nn.Parameter(scale * torch.randn(1, 1, width))
        self.latent_token_positional_embedding = nn.Parameter(scale * torch.randn(settings.latents, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = nn.ModuleList(Block(width, settings.heads) for _ in range(settings.decoder_layers))
        first, last = (
            nn.Conv2d(width, 2 * width, kernel_size=1),
            nn.Conv2d(2 * width, channels, kernel_size=1),
        )
        self.ffn = nn.Sequential(first, nn.Tanh(), last)

    def forward(self, entries: Tensor, draft: Tensor | None = None) -> Tensor:
        """Decode.

        Args:
            entries: (B, n, code_width) of the first n latents.
            draft: (B, grid², width) what is known of each patch already; added to its mask token.

        Returns:
            (B, channels, grid, grid) float32.
        """
        batch, count, _ = entries.shape
        known = self.decoder_embed(entries) + self.latent_token_positional_embedding[:count]
        masks = self.mask_token.expand(batch, self.grid**2, -1)
        if draft is not None:
            masks = masks + draft
        start = self.class_embedding.expand(batch, 1, -1)
        wanted = torch.cat([start, masks], dim=1) + self.positional_embedding
        tokens = self.ln_pre(torch.cat([wanted, known], dim=1))
        for block in self.transformer:
            tokens = block(tokens)
        patches = self.ln_post(tokens[:, 1 : 1 + self.grid**2]).transpose(1, 2)
        mapped: Tensor = self.ffn(patches.reshape(batch, -1, self.grid, self.grid))
        return mapped
