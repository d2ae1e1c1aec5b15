"""released names ──► what TiTok computes, read plainly from its paper: no class, nothing of the product.

Every function takes the state dict `w` of a release. Images are in [0, 1].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

HEAD = 64


def norm(w: dict, name: str, x: Tensor) -> Tensor:
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5) * w[f"{name}.weight"] + w[f"{name}.bias"]


def linear(w: dict, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def attention(w: dict, name: str, x: Tensor) -> Tensor:
    """Self-attention of one sequence (T, width), head by head."""
    width = x.shape[-1]
    q, k, v = (x @ w[f"{name}.in_proj_weight"].T + w[f"{name}.in_proj_bias"]).split(width, dim=-1)
    heads = []
    for start in range(0, width, HEAD):
        part = slice(start, start + HEAD)
        weights = (q[:, part] @ k[:, part].T / math.sqrt(HEAD)).softmax(-1)
        heads.append(weights @ v[:, part])
    return linear(w, f"{name}.out_proj", torch.cat(heads, -1))


def transformer(w: dict, name: str, x: Tensor) -> Tensor:
    layer = 0
    while f"{name}.transformer.{layer}.ln_1.weight" in w:
        block = f"{name}.transformer.{layer}"
        x = x + attention(w, f"{block}.attn", norm(w, f"{block}.ln_1", x))
        hidden = linear(w, f"{block}.mlp.c_fc", norm(w, f"{block}.ln_2", x))
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        x = x + linear(w, f"{block}.mlp.c_proj", hidden)
        layer += 1
    return x


def codes(w: dict, image: Tensor) -> tuple[Tensor, Tensor]:
    """(3, S, S) ──► ids (L,), and entries (L, d) of unit length."""
    patches = F.conv2d(image[None], w["encoder.patch_embed.weight"], w["encoder.patch_embed.bias"], stride=8)
    patches = patches[0].flatten(1).T
    seen = torch.cat([w["encoder.class_embedding"], patches]) + w["encoder.positional_embedding"]
    latents = w["latent_tokens"] + w["encoder.latent_token_positional_embedding"]
    x = transformer(w, "encoder", norm(w, "encoder.ln_pre", torch.cat([seen, latents])))
    latents = norm(w, "encoder.ln_post", x[len(seen) :])  # (L, width)
    count, width = latents.shape
    legacy = latents.reshape(width, count)  # not latents.T: the released models were trained like this
    z = (w["encoder.conv_out.weight"][:, :, 0, 0] @ legacy + w["encoder.conv_out.bias"][:, None]).T
    z = z / z.norm(dim=-1, keepdim=True)
    table = w["quantize.embedding.weight"]
    table = table / table.norm(dim=-1, keepdim=True)
    ids = torch.stack([((table - vector) ** 2).sum(-1).argmin() for vector in z])
    return ids, table[ids]


def decoded(w: dict, entries: Tensor) -> Tensor:
    """Entries (L, d) ──► image (3, S, S), not clamped."""
    known = linear(w, "decoder.decoder_embed", entries) + w["decoder.latent_token_positional_embedding"]
    places = len(w["decoder.positional_embedding"]) - 1
    masks = w["decoder.mask_token"][0].repeat(places, 1)
    wanted = torch.cat([w["decoder.class_embedding"], masks]) + w["decoder.positional_embedding"]
    x = transformer(w, "decoder", norm(w, "decoder.ln_pre", torch.cat([wanted, known])))
    x = norm(w, "decoder.ln_post", x[1 : 1 + places])
    first, last = w["decoder.ffn.0.weight"][:, :, 0, 0], w["decoder.ffn.2.weight"][:, :, 0, 0]
    logits = torch.tanh(x @ first.T + w["decoder.ffn.0.bias"]) @ last.T + w["decoder.ffn.2.bias"]
    vectors = logits.softmax(-1) @ w["pixel_quantize.embedding.weight"]  # (places, D)
    side = math.isqrt(places)
    return pixels(w, vectors.T.reshape(1, -1, side, side))[0]


def pixels(w: dict, x: Tensor) -> Tensor:
    def conv(name: str, x: Tensor) -> Tensor:
        weight = w[f"pixel_decoder.{name}.weight"]
        return F.conv2d(x, weight, w.get(f"pixel_decoder.{name}.bias"), padding=weight.shape[-1] // 2)

    def act(name: str, x: Tensor) -> Tensor:
        y = F.group_norm(x, 32, w[f"pixel_decoder.{name}.weight"], w[f"pixel_decoder.{name}.bias"], 1e-6)
        return y * torch.sigmoid(y)

    def block(name: str, x: Tensor) -> Tensor:
        y = conv(f"{name}.conv2", act(f"{name}.norm2", conv(f"{name}.conv1", act(f"{name}.norm1", x))))
        changes = f"pixel_decoder.{name}.nin_shortcut.weight" in w
        return y + (conv(f"{name}.nin_shortcut", y) if changes else x)

    x = block("mid.1", block("mid.0", conv("conv_in", x)))
    x = block("up.1.block.1", block("up.1.block.0", x))
    x = conv("up.1.upsample_conv", x.repeat_interleave(2, -1).repeat_interleave(2, -2))
    x = block("up.0.block.1", block("up.0.block.0", x))
    return conv("conv_out", act("norm_out", x))
