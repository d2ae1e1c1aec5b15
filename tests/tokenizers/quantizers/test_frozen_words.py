"""The quantizer: nearest is nearest, gradients go where equation 3 says, and the fitted projection puts
entries among the features.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from v2l.tokenizers.quantizers import base
from v2l.tokenizers.quantizers.base import nearest
from v2l.tokenizers.quantizers.frozen_words import BentProjection, LocalQuantizer, lost_variance

V, D, WIDTH = 50, 16, 4


def brute_force(features: Tensor, entries: Tensor) -> Tensor:
    return (features[:, None] - entries[None]).square().sum(dim=-1).argmin(dim=1)


def tiny_quantizer(**weights: float) -> LocalQuantizer:
    torch.manual_seed(0)
    return LocalQuantizer(torch.randn(V, D), WIDTH, **weights)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 40), seed=st.integers(0, 10**6), budget=st.sampled_from([1, 4 * V, 4 * V * 7, 2**20])
)
def test_the_chunked_search_picks_the_same_entry_as_brute_force(rows: int, seed: int, budget: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features, entries = (
        torch.randn(rows, WIDTH, generator=generator),
        torch.randn(V, WIDTH, generator=generator),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "CHUNK_BYTES", budget)
        assert torch.equal(nearest(features, entries), brute_force(features, entries))


def test_of_equal_entries_the_first_is_taken() -> None:
    entries = torch.ones(6, WIDTH)
    assert nearest(torch.zeros(3, WIDTH), entries).tolist() == [0, 0, 0]


def test_indices_are_the_nearest_projected_entries_and_quantized_are_their_rows() -> None:
    quantizer, features = tiny_quantizer(), torch.randn(2, WIDTH, 3, 5)
    quantized = quantizer(features)
    rows = features.movedim(1, -1).reshape(-1, WIDTH)
    assert torch.equal(quantized.indices.flatten(), brute_force(rows, quantizer.entries()))
    assert torch.allclose(quantized.quantized, quantizer.lookup(quantized.indices), atol=1e-6)


@pytest.mark.parametrize(("commitment", "codebook"), [(1.0, 0.33), (0.25, 1.0)])
def test_each_term_reaches_its_own_tensor_with_its_own_weight(commitment: float, codebook: float) -> None:
    quantizer = tiny_quantizer(commitment_weight=commitment, codebook_weight=codebook)
    features = torch.randn(1, WIDTH, 2, 2, requires_grad=True)
    quantized = quantizer(features)
    quantized.loss.backward()
    difference = (features - quantizer.lookup(quantized.indices)).detach()
    assert torch.allclose(features.grad, commitment * 2 * difference / difference.numel(), atol=1e-6)
    assert torch.allclose(
        quantizer.projection.bias.grad,
        -codebook * 2 * difference.sum(dim=(0, 2, 3)) / difference.numel(),
        atol=1e-6,
    )
    assert not quantizer.embeddings.requires_grad
    assert quantized.terms.keys() == {"commitment", "codebook"}
    assert float(quantized.terms["codebook"]) == pytest.approx(float(difference.square().mean()), rel=1e-5)
    assert float(quantized.loss.detach()) == pytest.approx(
        (commitment + codebook) * float(difference.square().mean()), rel=1e-5
    )


def test_the_gradient_passes_straight_through_to_the_features() -> None:
    quantizer, features = (
        tiny_quantizer(commitment_weight=0.0, codebook_weight=0.0),
        torch.randn(1, WIDTH, 2, 2, requires_grad=True),
    )
    push = torch.randn(1, WIDTH, 2, 2)
    (quantizer(features).quantized * push).sum().backward()
    assert torch.allclose(features.grad, push)


def test_projected_entries_are_computed_again_only_when_the_projection_changes() -> None:
    quantizer = tiny_quantizer()
    before = quantizer.entries()
    assert quantizer.entries() is before
    with torch.no_grad():
        quantizer.projection.weight.add_(1.0)
    assert not torch.equal(quantizer.entries(), before)


def test_a_quantizer_that_was_made_in_inference_mode_looks_up_the_same() -> None:
    with torch.inference_mode():
        inside = tiny_quantizer()
        found = inside.entries()
    assert inside.entries() is found
    assert torch.equal(found, tiny_quantizer().entries())


def test_the_fitted_projection_gives_entries_the_mean_and_covariance_of_the_features() -> None:
    torch.manual_seed(1)
    quantizer = LocalQuantizer(torch.randn(2000, D), WIDTH)
    features = torch.randn(5000, WIDTH) @ torch.randn(WIDTH, WIDTH) + 3
    quantizer.fit_projection(features)
    assert torch.allclose(quantizer.entries().mean(dim=0), features.mean(dim=0), atol=1e-3)
    assert torch.allclose(torch.cov(quantizer.entries().T), torch.cov(features.T), rtol=0.05, atol=0.05)


def test_the_codebook_is_not_saved_with_the_weights() -> None:
    assert set(tiny_quantizer().state_dict()) == {"projection.weight", "projection.bias"}


def test_a_fitted_codebook_keeps_what_the_best_code_keeps() -> None:
    torch.manual_seed(0)
    quantizer = LocalQuantizer(torch.nn.functional.normalize(torch.randn(4000, 32), dim=-1), WIDTH)
    features = torch.randn(20000, WIDTH) * torch.tensor([3.0, 1.0, 0.5, 0.01]) + 2.0
    quantizer.fit_projection(features)
    lost = lost_variance(features.var(dim=0), math.log2(4000))
    kept = quantizer.entries().var(dim=0)
    assert torch.allclose(kept[:3], features.var(dim=0)[:3] - lost, rtol=0.05)
    assert kept[3] < 1e-3  # what no bit is spent on
    assert torch.allclose(quantizer.entries().mean(dim=0), features.mean(dim=0), atol=0.05)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=12), st.floats(1, 20))
def test_water_filling_spends_all_bits_and_no_more(variances: list[float], bits: float) -> None:
    spread = torch.tensor(variances, dtype=torch.float64)
    lost = lost_variance(spread, bits)
    assert 0.5 * torch.log2((spread / lost).clamp(min=1)).sum().item() == pytest.approx(bits, abs=1e-6)


def test_a_bent_projection_begins_straight_and_learns_to_bend() -> None:
    projection = BentProjection(D, WIDTH)
    words = torch.nn.functional.normalize(torch.randn(5, D), dim=-1)
    assert torch.equal(projection(words), words @ projection.weight.T + projection.bias)
    projection(words).square().sum().backward()
    assert projection.bend[-1].weight.grad.abs().sum() > 0


def test_settling_brings_entries_nearer_to_features_and_leaves_no_gradient() -> None:
    torch.manual_seed(0)
    quantizer = LocalQuantizer(
        torch.nn.functional.normalize(torch.randn(500, 32), dim=-1), WIDTH, projection="bent"
    )
    features = torch.randn(4000, WIDTH).abs().pow(1.5) * 3
    quantizer.fit_projection(features)
    before = (quantizer.entries()[nearest(features, quantizer.entries())] - features).square().mean()
    quantizer.settle(features, steps=60)
    after = (quantizer.entries()[nearest(features, quantizer.entries())] - features).square().mean()
    assert after < 0.8 * before
    assert all(parameter.grad is None for parameter in quantizer.parameters())
