"""The linear code: fitted it is the principal components of patches, and the network beside it begins at
nothing.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from tiny_tokenizer import FOLDED, tiny_tokenizer

from v2l.tokenizers.cnn.patch_transform import PatchTransform
from v2l.tokenizers.grid.model import V2LTokenizer

FACTOR, WIDTH = 4, 6


def smooth_images(count: int = 40) -> torch.Tensor:
    """(count, 3, 16, 16) about [-1, 1], mostly of low frequency, as photographs are."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(count, 3, 4, 4, generator=generator)
    fine = 0.05 * torch.randn(count, 3, 16, 16, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=(16, 16), mode="bilinear") * 0.4 + 0.2 + fine


def fitted() -> PatchTransform:
    transform = PatchTransform(3, FACTOR, WIDTH)
    transform.fit(smooth_images())
    return transform


def test_no_linear_code_of_this_width_loses_less() -> None:
    images, transform = smooth_images(), fitted()
    with torch.no_grad():
        lost = (transform.decode(transform.encode(images)) - images).square().mean()
    patches = (
        torch.nn.functional.unfold(images, FACTOR, stride=FACTOR).transpose(1, 2).reshape(-1, 3 * FACTOR**2)
    )
    centred = patches - images.mean(dim=(0, 2, 3)).repeat_interleave(FACTOR**2)
    singular = torch.linalg.svdvals(centred)
    assert torch.isclose(lost, singular[WIDTH:].square().sum() / centred.numel(), rtol=1e-3)


def test_distances_between_coefficients_are_distances_between_pixels() -> None:
    transform = fitted()
    first, second = torch.randn(2, 1, WIDTH, 3, 5)
    with torch.no_grad():
        pixels = (transform.decode(first) - transform.decode(second)).square().sum()
    coefficients = (first - second).square().sum()
    other = torch.randn(1, WIDTH, 3, 5)
    with torch.no_grad():
        ratio = (transform.decode(other) - transform.decode(first)).square().sum() / (
            other - first
        ).square().sum()
    assert torch.isclose(pixels / coefficients, ratio, rtol=1e-4)


def test_the_networks_begin_at_nothing_beside_it() -> None:
    model = with_linear_path()
    model.linear.fit(smooth_images())
    images = smooth_images(2)
    with torch.no_grad():
        assert torch.equal(model.features(images), model.linear.encode(images))
        features = torch.randn(2, FOLDED.lookup_dim, 2, 2)
        context = model.context(torch.zeros(2, 3, dtype=torch.int64))
        assert torch.equal(model.paint(features, context), model.linear.decode(features))


def test_both_learn() -> None:
    model = with_linear_path().train()
    model.linear.fit(smooth_images())
    output = model(smooth_images(2), torch.zeros(2, 3, dtype=torch.int64))
    output.images.square().mean().backward()
    assert model.linear.analysis.weight.grad.abs().sum() > 0
    assert model.decoder.conv_out.weight.grad.abs().sum() > 0
    assert model.quant_conv.weight.grad.abs().sum() > 0


def with_linear_path() -> V2LTokenizer:
    return tiny_tokenizer(replace(FOLDED, linear_path=True))
