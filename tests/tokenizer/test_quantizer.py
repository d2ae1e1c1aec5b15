"""The quantizer: nearest is nearest, gradients go where equation 3 says, and the fitted projection puts entries among the features."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from v2l.tokenizer import quantizer as module
from v2l.tokenizer.quantizer import LocalQuantizer, nearest

V, D, WIDTH = 50, 16, 4


def brute_force(features: Tensor, entries: Tensor) -> Tensor:
    return (features[:, None] - entries[None]).square().sum(dim=-1).argmin(dim=1)


def tiny_quantizer(**weights: float) -> LocalQuantizer:
    torch.manual_seed(0)
    return LocalQuantizer(torch.randn(V, D), WIDTH, **weights)


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 40), seed=st.integers(0, 10**6), budget=st.sampled_from([1, 4 * V, 4 * V * 7, 2**20]))
def test_the_chunked_search_picks_the_same_entry_as_brute_force(rows: int, seed: int, budget: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    features, entries = torch.randn(rows, WIDTH, generator=generator), torch.randn(V, WIDTH, generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CHUNK_BYTES", budget)
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
    assert torch.allclose(quantizer.projection.bias.grad, -codebook * 2 * difference.sum(dim=(0, 2, 3)) / difference.numel(), atol=1e-6)
    assert not quantizer.embeddings.requires_grad
    assert float(quantized.loss) == pytest.approx((commitment + codebook) * float(difference.square().mean()), rel=1e-5)


def test_the_gradient_passes_straight_through_to_the_features() -> None:
    quantizer, features = tiny_quantizer(commitment_weight=0.0, codebook_weight=0.0), torch.randn(1, WIDTH, 2, 2, requires_grad=True)
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


def test_the_fitted_projection_gives_entries_the_mean_and_covariance_of_the_features() -> None:
    torch.manual_seed(1)
    quantizer = LocalQuantizer(torch.randn(2000, D), WIDTH)
    features = torch.randn(5000, WIDTH) @ torch.randn(WIDTH, WIDTH) + 3
    quantizer.fit_projection(features)
    assert torch.allclose(quantizer.entries().mean(dim=0), features.mean(dim=0), atol=1e-3)
    assert torch.allclose(torch.cov(quantizer.entries().T), torch.cov(features.T), rtol=0.05, atol=0.05)


def test_the_codebook_is_not_saved_with_the_weights() -> None:
    assert set(tiny_quantizer().state_dict()) == {"projection.weight", "projection.bias"}
