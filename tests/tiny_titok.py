"""a seed ──► a latent tokenizer of a few thousand weights, and weights in the layout of a release."""

from __future__ import annotations

from dataclasses import replace

import torch
from tiny_tokenizer import tiny_tokenizer
from torch import Tensor

from v2l.tokenizers.latents.frozen_grid import FrozenGrid
from v2l.tokenizers.latents.linear_code import fit_linear
from v2l.tokenizers.latents.model import TiTokTokenizer
from v2l.tokenizers.latents.settings import MASKGIT, LatentSettings

TINY = LatentSettings(
    image_size=32,
    patch=16,
    reads="features",
    lengths=(2, 4, 8),
    width=16,
    encoder_layers=1,
    decoder_layers=1,
    heads=2,
    code_width=8,
    codebook="words",
    linear_path=True,
)
RELEASED = LatentSettings(  # every size differs from every other one, so that a wrong axis is noticed
    image_size=32,
    patch=8,
    lengths=(6,),
    width=128,
    encoder_layers=2,
    decoder_layers=1,
    heads=2,
    code_width=12,
    codes=20,
    pixel_decoder=MASKGIT,
    proxy_codes=24,
    proxy_width=40,
    pixel_channels=32,
    pixel_levels=(1, 2),
)


def tiny_titok(settings: LatentSettings = TINY, seed: int = 0, fitted: bool = True) -> TiTokTokenizer:
    """2 × 2 cells a patch, 32 px images, the 40 words of the tiny grid."""
    grid = FrozenGrid.of(tiny_tokenizer())
    torch.manual_seed(seed)
    tokenizer = TiTokTokenizer(settings, grid).eval()
    if fitted and tokenizer.network.linear is not None:
        with torch.no_grad():
            features = grid.features(torch.rand(64, 3, 32, 32))
        network = tokenizer.network
        quantizers = [network.block_quantizer(block) for block in range(len(settings.blocks))]
        fit_linear(network.linear, quantizers, features)
    return tokenizer


def learned_titok(seed: int = 0) -> TiTokTokenizer:
    """Published shape at tiny sizes: pixels, one length, learned codes."""
    return tiny_titok(
        replace(TINY, reads="pixels", codebook="learned", codes=16, linear_path=False, lengths=(4,)), seed
    )


def released_weights(seed: int = 0) -> dict[str, Tensor]:
    """Random weights by the released names, as the released files hold them."""
    torch.manual_seed(seed)
    width, code, latents, patches = 128, 12, 6, 16
    shapes = {
        "latent_tokens": (latents, width),
        "encoder.patch_embed.weight": (width, 3, 8, 8),
        "encoder.patch_embed.bias": (width,),
        "encoder.conv_out.weight": (code, width, 1, 1),
        "encoder.conv_out.bias": (code,),
        "quantize.embedding.weight": (20, code),
        "decoder.decoder_embed.weight": (width, code),
        "decoder.decoder_embed.bias": (width,),
        "decoder.mask_token": (1, 1, width),
        "decoder.ffn.0.weight": (2 * width, width, 1, 1),
        "decoder.ffn.0.bias": (2 * width,),
        "decoder.ffn.2.weight": (24, 2 * width, 1, 1),
        "decoder.ffn.2.bias": (24,),
        "pixel_quantize.embedding.weight": (24, 40),
        "pixel_decoder.conv_in.weight": (64, 40, 3, 3),
        "pixel_decoder.conv_in.bias": (64,),
        "pixel_decoder.norm_out.weight": (32,),
        "pixel_decoder.norm_out.bias": (32,),
        "pixel_decoder.conv_out.weight": (3, 32, 3, 3),
        "pixel_decoder.conv_out.bias": (3,),
        "pixel_decoder.up.1.upsample_conv.weight": (64, 64, 3, 3),
        "pixel_decoder.up.1.upsample_conv.bias": (64,),
    }
    for half, layers in (("encoder", 2), ("decoder", 1)):
        shapes |= {
            f"{half}.class_embedding": (1, width),
            f"{half}.positional_embedding": (patches + 1, width),
            f"{half}.latent_token_positional_embedding": (latents, width),
        }
        norms = ["ln_pre", "ln_post"]
        for layer in range(layers):
            block = f"transformer.{layer}"
            norms += [f"{block}.ln_1", f"{block}.ln_2"]
            shapes |= {
                f"{half}.{block}.attn.in_proj_weight": (3 * width, width),
                f"{half}.{block}.attn.in_proj_bias": (3 * width,),
                f"{half}.{block}.attn.out_proj.weight": (width, width),
                f"{half}.{block}.attn.out_proj.bias": (width,),
                f"{half}.{block}.mlp.c_fc.weight": (4 * width, width),
                f"{half}.{block}.mlp.c_fc.bias": (4 * width,),
                f"{half}.{block}.mlp.c_proj.weight": (width, 4 * width),
                f"{half}.{block}.mlp.c_proj.bias": (width,),
            }
        shapes |= {f"{half}.{norm}.{part}": (width,) for norm in norms for part in ("weight", "bias")}
    residual = {"mid.0": (64, 64), "mid.1": (64, 64), "up.1.block.0": (64, 64), "up.1.block.1": (64, 64)}
    residual |= {"up.0.block.0": (64, 32), "up.0.block.1": (32, 32)}
    for name, (before, after) in residual.items():
        for norm, channels in (("norm1", before), ("norm2", after)):
            shapes |= {f"pixel_decoder.{name}.{norm}.{part}": (channels,) for part in ("weight", "bias")}
        shapes[f"pixel_decoder.{name}.conv1.weight"] = (after, before, 3, 3)
        shapes[f"pixel_decoder.{name}.conv2.weight"] = (after, after, 3, 3)
        if before != after:
            shapes[f"pixel_decoder.{name}.nin_shortcut.weight"] = (after, after, 1, 1)
    weights = {name: _drawn(shape) for name, shape in shapes.items()}
    for name in ("pixel_decoder.conv_out.weight", "pixel_decoder.conv_out.bias"):
        weights[name] *= 0.2  # images mostly in [0, 1]
    return weights


def _drawn(shape: tuple[int, ...]) -> Tensor:
    """Values that keep the size of what passes through: norms near 1, matrices by their inputs."""
    if len(shape) == 1:
        return torch.rand(shape) + 0.5
    return torch.randn(shape) / torch.tensor(shape[1:]).prod() ** 0.5
