"""a released TiTok checkpoint ──► a tokenizer directory of ours.

Nothing in the file is ever run. Sizes follow from the shapes. The three released models (L-32, B-64, S-128)
view their latents (L, width) as (width, L) without transposing; `LegacyEncoder` does the same. Source: TiTok,
arXiv 2406.07550; names as in the release (Apache-2.0 licence).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from v2l.checkpoint import file_hash, load_tensors
from v2l.errors import V2LError
from v2l.official.files import read_weights
from v2l.official.layout import Shapes, numbered
from v2l.tokenizers.latents.model import TiTokTokenizer
from v2l.tokenizers.latents.settings import MASKGIT, LatentSettings
from v2l.tokenizers.module_weights import load_strictly

RENAMED = {  # the names that differ, as beginnings
    "quantize.embedding.weight": "quantizers.0.codebook",
    "pixel_quantize.embedding.weight": "pixels.codes",
    "pixel_decoder.": "pixels.decoder.",
}
HEAD_WIDTH = 64  # channels of one head, in all three sizes
NEEDED = (
    "latent_tokens",
    "encoder.patch_embed.weight",
    "encoder.positional_embedding",
    "decoder.ffn.2.weight",
    "quantize.embedding.weight",
    "pixel_quantize.embedding.weight",
    "pixel_decoder.conv_in.weight",
)


def convert_titok(checkpoint: Path, target: Path) -> TiTokTokenizer:
    """Read a released checkpoint and write it as a directory for --tokenizer of every command.

    Args:
        checkpoint: the `.bin` or `.safetensors` of TiTok-L-32, B-64 or S-128.
        target: a new directory, or one of v2l's own to replace.

    Raises:
        V2LError: the file cannot be read, names code to be run, or is of another model (VAE, TA-TiTok).
    """
    weights = read_release(checkpoint)
    tokenizer = TiTokTokenizer(infer_settings(checkpoint, weights))
    named = {f"network.{our_name(name)}": tensor for name, tensor in weights.items()}
    idle = {name: tensor for name, tensor in tokenizer.state_dict().items() if name.endswith(".idle")}
    load_strictly(tokenizer, {**named, **idle}, checkpoint)
    tokenizer.facts = {"converted_from": checkpoint.name, "sha256": file_hash(checkpoint)}
    tokenizer.eval().save_pretrained(target)
    return tokenizer


def read_release(checkpoint: Path) -> dict[str, Tensor]:
    """The weights of a `.bin` or `.safetensors` file, by the released names."""
    if checkpoint.suffix == ".safetensors":
        return load_tensors(checkpoint)
    return read_weights(checkpoint)[1]


def our_name(name: str) -> str:
    """The name of a weight in our network."""
    for released, ours in RENAMED.items():
        if name.startswith(released):
            return ours + name.removeprefix(released)
    return name


def infer_settings(checkpoint: Path, weights: Mapping[str, Tensor]) -> LatentSettings:
    """The sizes that follow from the shapes.

    Raises:
        V2LError: a weight that L-32, B-64 and S-128 have is missing.
    """
    missing = [name for name in NEEDED if name not in weights]
    if missing:
        raise V2LError(f"{checkpoint} has no {missing[0]}", "TiTok-L-32, B-64 or S-128 of the release")
    shapes: Shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    latents, width = shapes["latent_tokens"]
    patch = shapes["encoder.patch_embed.weight"][-1]
    grid = math.isqrt(shapes["encoder.positional_embedding"][0] - 1)
    codes, code_width = shapes["quantize.embedding.weight"]
    proxy_codes, proxy_width = shapes["pixel_quantize.embedding.weight"]
    levels = [shape[0] for shape in numbered(shapes, r"pixel_decoder\.up\.(\d+)\.block\.0\.conv1\.weight")]
    return LatentSettings(
        image_size=grid * patch,
        patch=patch,
        lengths=(latents,),
        width=width,
        encoder_layers=len(numbered(shapes, r"encoder\.transformer\.(\d+)\.ln_1\.weight")),
        decoder_layers=len(numbered(shapes, r"decoder\.transformer\.(\d+)\.ln_1\.weight")),
        heads=max(1, width // HEAD_WIDTH),
        code_width=code_width,
        codes=codes,
        pixel_decoder=MASKGIT,
        proxy_codes=proxy_codes,
        proxy_width=proxy_width,
        pixel_channels=levels[0],
        pixel_levels=tuple(channels // levels[0] for channels in levels),
    )
