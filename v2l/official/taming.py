"""a VQGAN checkpoint of taming-transformers ──► a tokenizer directory of ours.

Nothing in the file is ever run. The names of the networks are the same, and sizes follow from the shapes.
Source: VQGAN, arXiv 2012.09841; names as in the released `last.ckpt` (MIT licence).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from v2l.checkpoint import file_hash
from v2l.config import Config, load_config
from v2l.errors import V2LError
from v2l.official.files import read_weights
from v2l.official.layout import Shapes, numbered
from v2l.tokenizers.module_weights import load_strictly
from v2l.tokenizers.vqgan.model import VQGANTokenizer

CODEBOOK, OURS = "quantize.embedding.weight", "quantizer.codebook"
LOSSES = "loss."  # discriminator and perceptual network of its training
NEEDED = ("encoder.conv_out.weight", "quant_conv.weight", CODEBOOK)


def convert_taming(checkpoint: Path, target: Path) -> VQGANTokenizer:
    """Read a released checkpoint and write it as a directory for --tokenizer of every command.

    Args:
        checkpoint: the `.ckpt` of a VQModel.
        target: a new directory, or one of v2l's own to replace.

    Raises:
        V2LError: the file cannot be read, names code to be run, or is of another model (Gumbel, transformer).
    """
    _, weights = read_weights(checkpoint)
    networks = {name: tensor for name, tensor in weights.items() if not name.startswith(LOSSES)}
    tokenizer = VQGANTokenizer(infer_config(checkpoint, networks))
    networks[OURS] = networks.pop(CODEBOOK)
    idle = {name: tensor for name, tensor in tokenizer.state_dict().items() if name.endswith(".idle")}
    load_strictly(tokenizer, {**networks, **idle}, checkpoint)
    tokenizer.facts = {"converted_from": checkpoint.name, "sha256": file_hash(checkpoint)}
    tokenizer.eval().save_pretrained(target)
    return tokenizer


def infer_config(checkpoint: Path, weights: Mapping[str, Tensor]) -> Config:
    """The preset `vqgan-paper` with the sizes that follow from the shapes.

    Raises:
        V2LError: a weight that every VQModel has is missing.
    """
    missing = [name for name in NEEDED if name not in weights]
    if missing:
        raise V2LError(
            f"{checkpoint} has no {missing[0]}", "a VQModel of taming-transformers (no Gumbel quantizer)"
        )
    shapes: Shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    config = load_config("vqgan-paper")
    levels = [shape[0] for shape in numbered(shapes, r"encoder\.down\.(\d+)\.block\.0\.conv2\.weight")]
    codes, width = shapes[CODEBOOK]
    network = replace(
        config.model,
        level_channels=tuple(levels),
        attention_levels=tuple(
            level for level in range(len(levels)) if f"encoder.down.{level}.attn.0.q.weight" in weights
        ),
        res_blocks=len(numbered(shapes, r"encoder\.down\.0\.block\.(\d+)\.conv1\.weight")),
        z_channels=shapes["encoder.conv_out.weight"][0],
        lookup_dim=width,
        codes=codes,
    )
    return replace(config, model=network)
