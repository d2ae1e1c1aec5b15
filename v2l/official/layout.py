"""official names and shapes ──► sizes of the network, and a report of what does not fit.

The report lists missing, unexpected and misshapen weights, prefix by prefix.

What does not follow from shapes (heads, ranges, normalisations) is pinned in `configs/official.yaml`.
Sources: V2L Tokenizer, arXiv 2403.07874, section 3.2; names as in the released checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from v2l.config import Config, load_config
from v2l.errors import V2LError
from v2l.tokenizers.cnn.decoder import Decoder
from v2l.tokenizers.cnn.encoder import Encoder
from v2l.training.discriminator import build_discriminator

Shapes = Mapping[str, tuple[int, ...]]

NETWORK = ("encoder", "decoder", "quant_conv", "post_quant_conv", "codebook_projection")
OURS = {"codebook_projection": "quantizer.projection"}  # the names that differ
LOCAL, GLOBAL = "tok_embeddings", "tok_embeddings_global"
DISCRIMINATOR, IMAGE_HALF, PERCEPTUAL = "discriminator", "global_encoder", "perceptual_loss"
OPTIONAL = (GLOBAL, DISCRIMINATOR, IMAGE_HALF)
LEVELS = 4  # 8 × 8 pixels a token


@dataclass(frozen=True)
class Part:
    """One prefix of the checkpoint beside what it should hold.

    Attributes:
        prefix: without its dot.
        wanted: how many tensors belong there.
        missing: names that are not in the file.
        unexpected: names that are, and belong to nothing.
        misshapen: names with both shapes.
        not_finite: names of tensors that hold NaN or infinity.
        floating: how many tensors hold floating-point numbers; counts of batches are whole numbers.
        half: how many of these are stored in half precision; they are raised to float32.
    """

    prefix: str
    wanted: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    misshapen: tuple[str, ...] = ()
    not_finite: tuple[str, ...] = ()
    floating: int = 0
    half: int = 0

    @property
    def found(self) -> int:
        """How many of the wanted tensors are in the file."""
        return self.wanted - len(self.missing)

    @property
    def problems(self) -> list[str]:
        """One line a kind of problem; none when all fits."""
        kinds = {
            "missing": self.missing,
            "unexpected": self.unexpected,
            "misshapen": self.misshapen,
            "not finite": self.not_finite,
        }
        return [
            f"{self.prefix}.: {len(names)} {kind} ({shortened(names)})"
            for kind, names in kinds.items()
            if names
        ]

    def to_dict(self) -> dict[str, Any]:
        """For reports, every name in full."""
        return vars(self)


def shortened(names: tuple[str, ...]) -> str:
    """The first three of some names."""
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def infer_config(shapes: Shapes) -> Config:
    """The official config with the sizes that follow from the shapes.

    Sizes that do not follow from the shapes stay as they are in the official config.

    Raises:
        V2LError: the widths belong to no network of this kind.
    """
    config = load_config("official")
    network = config.model
    channels = tuple(shape[0] for shape in numbered(shapes, r"encoder\.down\.(\d+)\.block\.0\.conv2\.weight"))
    if channels and len(channels) != LEVELS:
        side = 2 ** (len(channels) - 1)
        raise V2LError(
            f"the encoder has {len(channels)} levels, {side} × {side} pixels a token",
            f"{LEVELS} levels, 8 × 8 pixels a token",
        )
    inner = size_of(
        shapes, "decoder.mid.cross_attn_1.to_q.weight", network.attention_heads * network.attention_head_dim
    )
    sizes = replace(
        network,
        level_channels=channels or network.level_channels,
        res_blocks=len(numbered(shapes, r"encoder\.down\.0\.block\.(\d+)\.conv1\.weight"))
        or network.res_blocks,
        z_channels=size_of(shapes, "encoder.conv_out.weight", network.z_channels),
        lookup_dim=size_of(shapes, "quant_conv.weight", network.lookup_dim),
        attention_head_dim=inner // network.attention_heads,
    )
    return replace(config, model=sizes)


def expected_shapes(config: Config, codebook_dim: int) -> dict[str, tuple[int, ...]]:
    """The official name and shape of every tensor of the network and of the discriminator.

    No tensor is allocated.
    """
    network = config.model
    with torch.device("meta"):
        parts = nn.ModuleDict(
            {
                "encoder": Encoder(network),
                "decoder": Decoder(network, codebook_dim),
                "quant_conv": nn.Conv2d(network.z_channels, network.lookup_dim, kernel_size=1),
                "post_quant_conv": nn.Conv2d(network.lookup_dim, network.z_channels, kernel_size=1),
                "codebook_projection": nn.Linear(codebook_dim, network.lookup_dim),
                DISCRIMINATOR: build_discriminator(),
            }
        )
    return {name: tuple(tensor.shape) for name, tensor in parts.state_dict().items()}


def compare(weights: Mapping[str, Tensor], wanted: Shapes) -> list[Part]:
    """Compare weights with the expected names and shapes, in the order of `wanted`.

    Optional parts can be absent as a whole.

    Args:
        weights: by the official names.
        wanted: names and shapes; names of the perceptual network are left out on both sides.
    """
    found = {prefix: tensors for prefix, tensors in by_prefix(weights).items() if prefix != PERCEPTUAL}
    known = by_prefix(wanted)
    return [
        compare_part(prefix, found.get(prefix, {}), known.get(prefix, {}))
        for prefix in dict.fromkeys([*known, *found])
        if prefix in found or prefix not in OPTIONAL
    ]


def compare_part(prefix: str, found: Mapping[str, Tensor], wanted: Shapes) -> Part:
    """One prefix."""
    wrong = [name for name in found if name in wanted and tuple(found[name].shape) != wanted[name]]
    return Part(
        prefix,
        len(wanted),
        missing=tuple(name for name in wanted if name not in found),
        unexpected=tuple(name for name in found if name not in wanted),
        misshapen=tuple(f"{name} {tuple(found[name].shape)} for {wanted[name]}" for name in wrong),
        not_finite=tuple(
            name
            for name, tensor in found.items()
            if tensor.is_floating_point() and not tensor.isfinite().all()
        ),
        floating=sum(tensor.is_floating_point() for tensor in found.values()),
        half=sum(tensor.dtype in (torch.float16, torch.bfloat16) for tensor in found.values()),
    )


def our_name(name: str) -> str:
    """The name of a tensor of the network in a directory of ours."""
    prefix, rest = name.split(".", 1)
    return f"{OURS.get(prefix, prefix)}.{rest}"


def by_prefix(named: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The same names in groups, by the part before their first dot."""
    groups: dict[str, dict[str, Any]] = {}
    for name, value in named.items():
        groups.setdefault(name.split(".", 1)[0], {})[name] = value
    return groups


def numbered(shapes: Shapes, pattern: str) -> list[tuple[int, ...]]:
    """The shapes whose name matches a pattern with one number in it, in the order of the numbers."""
    matches = {
        int(match[1]): shape for name, shape in shapes.items() if (match := re.fullmatch(pattern, name))
    }
    return [matches[number] for number in sorted(matches)]


def size_of(shapes: Shapes, name: str, otherwise: int) -> int:
    """The first side of a tensor; the official one when the file lacks it."""
    return shapes[name][0] if shapes.get(name) else otherwise
