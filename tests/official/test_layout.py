"""Names and shapes are exactly those of the release, and its sizes are read from them."""

from __future__ import annotations

from math import prod

import pytest
import tiny_release as release
import torch
from tiny_release import SMALL, Sizes

from v2l.config import load_config
from v2l.errors import V2LError
from v2l.official.layout import expected_shapes, infer_config

FULL = Sizes()
TABLE = release.encoder(FULL) | release.decoder(FULL) | release.between(FULL) | release.discriminator()


def test_the_full_size_has_the_published_names_and_shapes() -> None:
    assert expected_shapes(load_config("official"), FULL.width) == TABLE


@pytest.mark.parametrize(("part", "entries"), [("encoder", 106), ("decoder", 143), ("discriminator", 16)])
def test_the_table_has_as_many_entries_as_the_release(part: str, entries: int) -> None:
    assert (
        len(getattr(release, part)() if part == "discriminator" else getattr(release, part)(FULL)) == entries
    )


@pytest.mark.parametrize(
    ("prefix", "parameters"),
    [
        ("encoder.", 26_455_936),
        ("decoder.", 48_746_499),
        ("decoder.mid.cross_attn_1.", 10_486_272),
        ("quant_conv.", 197_376),
        ("post_quant_conv.", 196_864),
        ("codebook_projection.", 590_592),
        ("discriminator.", 663_361),
    ],
)
def test_the_parameters_count_as_published(prefix: str, parameters: int) -> None:
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    ours = expected_shapes(load_config("official"), FULL.width)
    assert (
        sum(
            prod(shape)
            for name, shape in ours.items()
            if name.startswith(prefix) and not name.endswith(buffers)
        )
        == parameters
    )


def test_the_sizes_come_from_the_shapes() -> None:
    assert infer_config(TABLE).model == load_config("official").model
    small = infer_config(release.encoder(SMALL) | release.decoder(SMALL) | release.between(SMALL)).model
    assert (small.level_channels, small.res_blocks, small.z_channels, small.lookup_dim) == (
        SMALL.channels,
        2,
        SMALL.z,
        SMALL.width,
    )
    assert (small.attention_heads, small.attention_head_dim) == (8, SMALL.inner // 8)


def test_what_does_not_follow_from_shapes_is_pinned() -> None:
    pinned = load_config("official").model
    assert (pinned.variant, pinned.resize, pinned.word_ranking) == ("official", "two-step", "euclidean")
    assert (pinned.global_tokens, pinned.attention_heads, pinned.normalize_features, pinned.image_size) == (
        21,
        8,
        True,
        128,
    )
    assert (pinned.stem, pinned.resampling, pinned.linear_path, pinned.quantizer, pinned.projection) == (
        1,
        "conv",
        False,
        "words",
        "linear",
    )


def test_another_depth_is_refused() -> None:
    deeper = {"encoder.down.4.block.0.conv2.weight": (512, 512, 3, 3)}
    with pytest.raises(V2LError, match=r"5 levels, 16 × 16 pixels a token; allowed: 4 levels"):
        infer_config(release.encoder(FULL) | deeper)


def test_looking_at_the_layout_makes_no_tensor() -> None:
    before = torch.random.get_rng_state()
    expected_shapes(load_config("official"), FULL.width)
    assert torch.equal(torch.random.get_rng_state(), before)
