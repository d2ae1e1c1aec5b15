"""The linear code is an orthonormal transform, and every further length makes its error smaller."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from v2l.tokenizers.latents.linear_code import LinearCode, cosines, fit_linear
from v2l.tokenizers.latents.word_codes import WordQuantizer
from v2l.tokenizers.quantizers.base import nearest

BLOCKS = ((0, 2), (2, 4), (4, 8))


def features(count: int = 200, seed: int = 0) -> Tensor:
    """Maps (count, 3, 4, 4) whose low frequencies are the strongest, as in photographs."""
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.arange(4)[:, None] + torch.arange(4)[None] + 1.0
    strong = torch.randn(count, 3, 4, 4, generator=generator) / frequency
    return torch.einsum("ux,vy,bcuv->bcxy", cosines(4), cosines(4), strong) + 0.5


def quantizer(seed: int = 1) -> WordQuantizer:
    return WordQuantizer(torch.randn(60, 4, generator=torch.Generator().manual_seed(seed)))


def test_cosines_are_the_dct_of_its_definition() -> None:
    rows = cosines(5)
    for frequency in range(5):
        for place in range(5):
            scale = math.sqrt((1 if frequency == 0 else 2) / 5)
            expected = scale * math.cos(math.pi * (2 * place + 1) * frequency / 10)
            assert abs(float(rows[frequency, place]) - expected) < 1e-6


def test_the_inverse_gives_the_features_back_and_lengths_are_kept() -> None:
    linear, maps = LinearCode((3, 4, 4), BLOCKS, 4), features()
    linear.fit_transform(maps)
    coefficients = linear.transform(maps)
    assert torch.allclose(linear.inverse(coefficients), maps, atol=1e-5)
    assert torch.allclose(coefficients.norm(dim=1), (maps - linear.mean).flatten(1).norm(dim=1), atol=1e-4)


def test_a_block_takes_the_coefficients_with_the_most_variance_dealt_out_in_turn() -> None:
    linear, maps = LinearCode((3, 4, 4), BLOCKS, 4), features()
    linear.fit_transform(maps)
    coefficients = linear.transform(maps)
    linear.fit_block(coefficients, 0, 2)
    order = coefficients.square().mean(0).argsort(descending=True)[:8]
    assert linear.places[:2].tolist() == [order[0::2].tolist(), order[1::2].tolist()]
    assert torch.allclose(
        linear.analyse(coefficients, 0, 2).square().mean(dim=(0, 2)), torch.ones(2), atol=1e-4
    )


def test_every_further_length_makes_the_error_smaller() -> None:
    linear, words = LinearCode((3, 4, 4), BLOCKS, 4), [quantizer() for _ in BLOCKS]
    fit_linear(linear, words, features())
    left, errors = linear.transform(features(seed=3)), []
    for (first, end), own in zip(BLOCKS, words, strict=True):
        entries = own.entries()
        errors.append(float(left.square().sum(1).mean()))
        codes = linear.analyse(left, first, end)
        left = left - linear.spread(entries[nearest(codes.flatten(0, 1), entries)].view(codes.shape), first)
    errors.append(float(left.square().sum(1).mean()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


def test_mean_and_covariance_of_the_words_become_those_of_the_features() -> None:
    words = quantizer()
    seen = torch.randn(5000, 4, generator=torch.Generator().manual_seed(2)) * torch.tensor([9.0, 3, 2, 2]) + 1
    words.fit(seen)
    entries = words.entries()
    assert torch.allclose(entries.mean(dim=0), seen.mean(dim=0), atol=1e-3)
    own, wanted = torch.cov(entries.T), torch.cov(seen.T)
    lost = wanted - own  # the same in every coded direction: reverse water-filling
    assert torch.allclose(lost.diagonal(), lost.diagonal().mean().expand(4), rtol=0.02)
    assert (own.diagonal() < wanted.diagonal()).all()
