"""quantized features + global words ──► image: a CNN decoder with cross-attention to the words.

Trained. The blocks are those of taming-transformers. Sources: V2L Tokenizer, arXiv 2403.07874, section 3.2;
cross-attention as in Latent Diffusion, arXiv 2112.10752, section 3.3.
"""

from __future__ import annotations

from itertools import pairwise

from taming.modules.diffusionmodules.model import AttnBlock, Normalize, Upsample
from torch import Tensor, nn
from torch.nn import functional

from v2l.config import ModelConfig
from v2l.errors import V2LError
from v2l.tokenizers.cnn.encoder import IMAGE_CHANNELS, residual_block, through_level


class CrossAttention(nn.Module):
    """Multi-head cross-attention from N grid cells to G global words.

    `forward` maps cells (B, N, C), the queries, and words (B, G, D), the keys and values, to (B, N, C). The
    projections to queries, keys and values have no bias.

    Args:
        channels: C, width of a cell.
        context_dim: D, width of a word.
        heads: number of attention heads.
        head_dim: width of one head.
    """

    def __init__(self, channels: int, context_dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(channels, heads * head_dim, bias=False)
        self.to_k = nn.Linear(context_dim, heads * head_dim, bias=False)
        self.to_v = nn.Linear(context_dim, heads * head_dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(heads * head_dim, channels))

    def forward(self, cells: Tensor, context: Tensor) -> Tensor:
        query = self._split(self.to_q(cells))
        key = self._split(self.to_k(context))
        value = self._split(self.to_v(context))
        # (B, heads, N, head_dim); the scale is head_dim^-1/2
        mixed = functional.scaled_dot_product_attention(query, key, value)
        joined = mixed.transpose(1, 2).flatten(2)  # (B, heads, N, head_dim) → (B, N, heads·head_dim)
        output: Tensor = self.to_out(joined)
        return output

    def _split(self, rows: Tensor) -> Tensor:
        """(B, N, heads·head_dim) → (B, heads, N, head_dim)."""
        heads: Tensor = rows.unflatten(-1, (self.heads, -1))
        return heads.transpose(1, 2)


class GlobalWords(CrossAttention):
    """Cross-attention from a feature map (B, C, h, w) to the global words (B, G, D).

    By default the features are normalized first, and the output is added to them (a residual connection).
    The official code has no norm and no residual connection: the output replaces the features, so that the
    attention weights alone carry the spatial information.
    """

    def __init__(self, channels: int, context_dim: int, config: ModelConfig) -> None:
        super().__init__(channels, context_dim, config.attention_heads, config.attention_head_dim)
        self.norm = nn.Identity() if config.variant == "official" else Normalize(channels)
        self.residual = config.variant != "official"

    def forward(self, features: Tensor, context: Tensor) -> Tensor:
        cells = self.norm(features).flatten(2).transpose(1, 2)  # (B, C, h, w) → (B, h·w, C)
        attended = super().forward(cells, context).transpose(1, 2)  # (B, h·w, C) → (B, C, h·w)
        output: Tensor = attended.unflatten(-1, features.shape[-2:])  # (B, C, h·w) → (B, C, h, w)
        return features + output if self.residual else output


class FoldedUpsample(nn.Module):
    """Upsampling by a convolution and a pixel shuffle: (B, C, h, w) ──► (B, C', 2h, 2w)."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, 4 * channels_out, kernel_size=3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.conv(features), 2)


class DecoderLevel(nn.Module):
    """Residual blocks at one resolution, then upsampling, except at the finest resolution."""

    def __init__(
        self, channels_in: int, channels: int, config: ModelConfig, above: int | None, attention: bool
    ) -> None:
        super().__init__()
        widths = [channels_in] + [channels] * (config.res_blocks + 1)
        self.block = nn.ModuleList(residual_block(before, after) for before, after in pairwise(widths))
        self.attn = nn.ModuleList(AttnBlock(channels) for _ in self.block if attention)
        if above is not None:
            self.upsample = (
                FoldedUpsample(channels, above)
                if config.resampling == "shuffle"
                else Upsample(channels, with_conv=True)
            )

    def forward(self, features: Tensor) -> Tensor:
        features = through_level(features, self.block, self.attn)
        return self.upsample(features) if hasattr(self, "upsample") else features


class DecoderMiddle(nn.Module):
    """The blocks at the coarsest resolution.

    In order: residual block, self-attention, cross-attention to the global words, residual block.
    """

    def __init__(self, channels: int, context_dim: int, config: ModelConfig) -> None:
        super().__init__()
        self.block_1 = residual_block(channels, channels)
        self.attn_1 = AttnBlock(channels)
        self.cross_attn_1 = GlobalWords(channels, context_dim, config) if config.cross_attention else None
        self.block_2 = residual_block(channels, channels)

    def forward(self, features: Tensor, context: Tensor | None) -> Tensor:
        features = self.attn_1(self.block_1(features, None))
        if self.cross_attn_1 is not None:
            if context is None:
                raise V2LError(
                    "the decoder reads global words and got none",
                    "ImageTokens with global_ids",
                    "model.encode(image)",
                )
            features = self.cross_attn_1(features, context)
        output: Tensor = self.block_2(features, None)
        return output


class Decoder(nn.Module):
    """The CNN decoder.

    Args:
        config: widths and depths; the encoder's levels in reverse order.
        context_dim: D, width of the global words' embeddings.
    """

    def __init__(self, config: ModelConfig, context_dim: int) -> None:
        super().__init__()
        channels = config.level_channels
        self.stem = config.stem
        self.conv_in = nn.Conv2d(config.z_channels, channels[-1], kernel_size=3, padding=1)
        self.mid = DecoderMiddle(channels[-1], context_dim, config)
        self.up = nn.ModuleList()
        width = channels[-1]
        for level in reversed(range(len(channels))):
            above, attention = channels[level - 1] if level else None, level in config.attention_levels
            level_blocks = DecoderLevel(width, channels[level], config, above, attention)
            self.up.insert(0, level_blocks)  # up[0] is the finest
            width = above if config.resampling == "shuffle" and above else channels[level]
        self.norm_out = Normalize(channels[0])
        self.conv_out = nn.Conv2d(channels[0], IMAGE_CHANNELS * config.stem**2, kernel_size=3, padding=1)

    def forward(self, features: Tensor, context: Tensor | None) -> Tensor:
        """Decode features and global words to images.

        Args:
            features: (B, z_channels, h, w).
            context: (B, G, D) embeddings of the global words; None without cross-attention.

        Returns:
            (B, 3, H, W), about [-1, 1], not clamped.

        Raises:
            V2LError: the decoder has cross-attention, and `context` is None.
        """
        features = self.mid(self.conv_in(features), context)
        for level in reversed(self.up):
            features = level(features)
        folded = self.conv_out(functional.silu(self.norm_out(features)))
        return functional.pixel_shuffle(folded, self.stem)

    @property
    def last_weight(self) -> Tensor:
        """The last layer's weight; VQGAN, equation 7, compares gradients there."""
        return self.conv_out.weight
