"""a seed ──► the official release's files with random weights, in full size or in small: names and shapes
from the table of its format."""

from __future__ import annotations

import math
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from v2l.encoders import JointEncoder
from v2l.llm import FrozenLLM

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Sizes:
    """The widths of a release; the defaults are the real ones."""

    channels: tuple[int, int, int, int] = (128, 256, 256, 512)
    z: int = 256
    width: int = 768  # of a codebook's row, and of the lookup
    inner: int = 4096  # 8 heads of the cross-attention
    local: int = 32_000
    words: int = 11_908


SMALL = Sizes((32, 64, 64, 96), z=32, width=16, inner=64, local=400, words=60)


def conv(name: str, width_in: int, width_out: int, kernel: int) -> Shapes:
    return {f"{name}.weight": (width_out, width_in, kernel, kernel), f"{name}.bias": (width_out,)}


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def residual(name: str, width_in: int, width_out: int) -> Shapes:
    shapes = norm(f"{name}.norm1", width_in) | conv(f"{name}.conv1", width_in, width_out, 3)
    shapes |= norm(f"{name}.norm2", width_out) | conv(f"{name}.conv2", width_out, width_out, 3)
    return shapes | (conv(f"{name}.nin_shortcut", width_in, width_out, 1) if width_in != width_out else {})


def attention(name: str, width: int) -> Shapes:
    shapes = norm(f"{name}.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        shapes |= conv(f"{name}.{part}", width, width, 1)
    return shapes


def middle(name: str, width: int) -> Shapes:
    return (
        residual(f"{name}.block_1", width, width)
        | attention(f"{name}.attn_1", width)
        | residual(f"{name}.block_2", width, width)
    )


def encoder(sizes: Sizes) -> Shapes:
    shapes = conv("encoder.conv_in", 3, sizes.channels[0], 3)
    before = sizes.channels[0]
    for level, width in enumerate(sizes.channels):
        for block in range(2):
            shapes |= residual(f"encoder.down.{level}.block.{block}", before, width)
            before = width
        if level < 3:
            shapes |= conv(f"encoder.down.{level}.downsample.conv", width, width, 3)
    shapes |= middle("encoder.mid", before)
    return shapes | norm("encoder.norm_out", before) | conv("encoder.conv_out", before, sizes.z, 3)


def decoder(sizes: Sizes) -> Shapes:
    before = sizes.channels[-1]
    shapes = conv("decoder.conv_in", sizes.z, before, 3) | middle("decoder.mid", before)
    cross = "decoder.mid.cross_attn_1"
    shapes |= {f"{cross}.to_q.weight": (sizes.inner, before)}
    shapes |= {f"{cross}.{part}.weight": (sizes.inner, sizes.width) for part in ("to_k", "to_v")}
    shapes |= {f"{cross}.to_out.0.weight": (before, sizes.inner), f"{cross}.to_out.0.bias": (before,)}
    for level in (3, 2, 1, 0):  # 3 is the coarsest
        width = sizes.channels[level]
        for block in range(3):
            shapes |= residual(f"decoder.up.{level}.block.{block}", before, width)
            before = width
        if level:
            shapes |= conv(f"decoder.up.{level}.upsample.conv", width, width, 3)
    return shapes | norm("decoder.norm_out", before) | conv("decoder.conv_out", before, 3, 3)


def between(sizes: Sizes) -> Shapes:
    shapes = conv("quant_conv", sizes.z, sizes.width, 1) | conv("post_quant_conv", sizes.width, sizes.z, 1)
    return shapes | {
        "codebook_projection.weight": (sizes.width, sizes.width),
        "codebook_projection.bias": (sizes.width,),
    }


def rows(sizes: Sizes) -> Shapes:
    return {
        "tok_embeddings.weight": (sizes.local, sizes.width),
        "tok_embeddings_global.weight": (sizes.words, sizes.width),
    }


def discriminator() -> Shapes:
    shapes: Shapes = conv("discriminator.main.0", 3, 64, 4) | conv("discriminator.main.8", 256, 1, 4)
    for place, width_in, width_out in ((2, 64, 128), (5, 128, 256)):
        shapes |= {f"discriminator.main.{place}.weight": (width_out, width_in, 4, 4)} | norm(
            f"discriminator.main.{place + 1}", width_out
        )
        shapes |= {
            f"discriminator.main.{place + 1}.{part}": (width_out,) for part in ("running_mean", "running_var")
        }
        shapes |= {f"discriminator.main.{place + 1}.num_batches_tracked": ()}
    return shapes


def random_tensor(name: str, shape: tuple[int, ...]) -> Tensor:
    """Numbers that keep features of a healthy size: convolutions by fan-in, norms about one, attention that
    differs from cell to cell.
    """
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    if name.endswith("running_var"):
        return torch.rand(shape) + 0.5
    if len(shape) > 1:
        return (
            torch.randn(shape)
            / math.sqrt(math.prod(shape[1:]))
            * (6 if ".to_q." in name or ".to_k." in name else 1)
        )
    return torch.randn(shape) * 0.1 + (1.0 if "norm" in name and name.endswith("weight") else 0.0)


def random_weights(
    sizes: Sizes = SMALL, seed: int = 0, image_half: dict[str, Tensor] | None = None
) -> dict[str, Tensor]:
    """A whole state dict; codebook rows as they are: shorter than one, and exact in half precision."""
    torch.manual_seed(seed)
    shapes = encoder(sizes) | decoder(sizes) | between(sizes) | discriminator()
    weights = {name: random_tensor(name, shape) for name, shape in shapes.items()}
    for name, shape in rows(sizes).items():
        unit = torch.nn.functional.normalize(torch.randn(shape), dim=-1)
        weights[name] = (unit * (0.6 + 0.3 * torch.rand(shape[0], 1))).half().float()
    weights["perceptual_loss.lin0.model.1.weight"] = torch.rand(1, 64, 1, 1)
    return weights | {f"global_encoder.{name}": tensor.clone() for name, tensor in (image_half or {}).items()}


def words(count: int) -> list[str]:
    """Strings as the official vocabulary has them: joined without their spaces."""
    return [
        f"{first}{second}"
        for second in ("", "dog", "hat", "dress")
        for first in ("red", "straw", "photo", "a", "In", "猫")
    ][:count] + [f"word{number}" for number in range(count - 24)]


@dataclass(frozen=True)
class Release:
    """Where the files are."""

    checkpoint: Path
    codebooks: Path


@dataclass(frozen=True)
class Setting:
    """All that a conversion needs, on disk and loaded."""

    folder: Path
    weights: dict[str, Tensor]
    release: Release
    llama: str
    clip: str
    tokens: FrozenLLM
    encoder: JointEncoder


def write_release(
    folder: Path, weights: dict[str, Tensor], layout: str = "state_dict", objects: bool = True
) -> Release:
    """Write the four files; `layout` is state_dict, model, bare or wrapped (state_dict with `module.`)."""
    folder.mkdir(parents=True, exist_ok=True)
    named = {f"module.{name}": tensor for name, tensor in weights.items()} if layout == "wrapped" else weights
    args = Namespace(batch_size=8, lr=4.5e-4, device="cuda", llama_model_path=None, betas=(0.5, 0.9))
    container = {"bare": named, "model": {"model": named, "epoch": 99, "args": args, "scaler_ae": {}}}
    torch.save(
        container.get(layout, {"state_dict": named, "epoch": 99, "args": args}), folder / "v2l-decode.pth"
    )
    vocabulary = words(len(weights["tok_embeddings_global.weight"]))
    np.save(
        folder / "global_vocabulary.npy",
        np.array(vocabulary, dtype=object if objects else str),
        allow_pickle=objects,
    )
    torch.save(weights["tok_embeddings.weight"].half(), folder / "local_codebook_embedding.pth")
    torch.save(weights["tok_embeddings_global.weight"].half(), folder / "global_codebook_embedding.pth")
    return Release(folder / "v2l-decode.pth", folder)
