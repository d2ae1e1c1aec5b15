"""Q-former, W-former and their guidance are what SAM's formulas say, read plainly."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from v2l.errors import V2LError
from v2l.tokenizers.adapters.guidance import Guidance, GuidedFormer, WFormer
from v2l.tokenizers.positions import sine_positions

DIM, WIDTH, TOKENS = 6, 16, 4


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def attend(attention: nn.MultiheadAttention, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """One head of attention: (Q, width) over (P, width)."""
    (q, k, v), (bq, bk, bv) = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    read = scaled_dot_product_attention(
        (queries @ q.T + bq)[None], (keys @ k.T + bk)[None], (values @ v.T + bv)[None]
    )
    return attention.out_proj(read[0])


def test_contextual_semantics_are_a_weighted_sum_over_the_other_images() -> None:
    former, tokens = WFormer(WIDTH, 1), torch.randn(3, TOKENS, WIDTH)
    keys, values = torch.randn(3, 5, WIDTH), torch.randn(3, 5, WIDTH)
    for i in range(3):
        others = [j for j in range(3) if j != i]
        read = [attend(former.attention, former.norm(tokens[i]), keys[j], values[j]) for j in others]
        scores = [former.own(tokens[i].mean(0)) @ former.other(one.mean(0)) / WIDTH**0.5 for one in read]
        weights = torch.stack(scores).softmax(dim=0)
        expected = sum(weight * one for weight, one in zip(weights, read, strict=True))
        assert torch.allclose(former(tokens, keys, values)[i], expected, atol=1e-5)


@pytest.mark.parametrize("injection", ["append", "add"])
def test_the_guided_q_former_reads_its_image_again(injection: str) -> None:
    network = GuidedFormer(DIM, WIDTH, TOKENS, heads=1)
    network.guidance = Guidance(1, injection)
    features = torch.randn(2, 3, 3, DIM)
    values = network.input(features.flatten(1, 2))
    keys = values + sine_positions((3, 3), WIDTH, (2, 2)).flatten(0, 1)
    context = network.w_former(network.q_former(keys, values, None, injection), keys, values)
    former, found = network.q_former, network(features, together=True)
    for i in range(2):
        queries = former.queries + sine_positions((2, 2), WIDTH).flatten(0, 1)
        queries = torch.cat([queries, context[i]]) if injection == "append" else queries + context[i]
        normed = former.self_norm(queries)
        queries = (queries + attend(former.self_attention, normed, normed, normed))[:TOKENS]
        queries = queries + attend(former.cross_attention, former.cross_norm(queries), keys[i], values[i])
        expected = network.output(queries + former.layers(former.last_norm(queries)))
        assert torch.allclose(found[i], expected, atol=1e-5)


def test_images_guide_each_other_only_in_a_set() -> None:
    network = GuidedFormer(DIM, WIDTH, TOKENS, heads=2)
    features, other = torch.randn(3, 3, 3, DIM), torch.randn(1, 3, 3, DIM)
    changed = torch.cat([features[:2], other])
    assert torch.equal(network(features)[:2], network(changed)[:2])
    assert not torch.allclose(
        network(features, together=True)[0], network(changed, together=True)[0], atol=1e-4
    )
    alone = network(features[:1], together=True)
    assert torch.allclose(alone, network(features)[:1], atol=1e-6)
    network.guidance = Guidance(rounds=0)
    assert torch.equal(network(features, together=True), network(features))


def test_the_order_of_the_other_images_changes_nothing() -> None:
    network, features = GuidedFormer(DIM, WIDTH, TOKENS, heads=2), torch.randn(4, 3, 3, DIM)
    order = [0, 3, 1, 2]
    assert torch.allclose(
        network(features[order], together=True), network(features, together=True)[order], atol=1e-5
    )


def test_unknown_options_are_refused() -> None:
    for options in ((-1, "append"), (1, "concatenate")):
        with pytest.raises(V2LError, match="--rounds 1 --injection append"):
            Guidance(*options)
