"""Resampler, projector, positions and SEA's loss are what their papers say."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import normalize, scaled_dot_product_attention

from v2l.tokenizers.adapters import fitted
from v2l.tokenizers.adapters.alignment import alignment_loss, draw_words
from v2l.tokenizers.adapters.fitted import WordMixture, pool_fields
from v2l.tokenizers.adapters.model import AdapterSettings
from v2l.tokenizers.adapters.projector import Projector
from v2l.tokenizers.adapters.resampler import Resampler
from v2l.tokenizers.positions import sine_positions

DIM, CHANNELS, WIDTH, WORDS = 6, 10, 16, 5


def projector() -> Projector:
    """A projector whose mixture has random words."""
    network = Projector(AdapterSettings(DIM, CHANNELS, WIDTH, 9, WORDS, 1.0, "e", "0", "l", "0"))
    network.from_joint.learn(torch.randn(WORDS, DIM), torch.randn(WORDS, WIDTH))
    return network


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def test_positions_are_sines_of_row_and_column() -> None:
    found = sine_positions((2, 3), 8)
    row, column = 1, 2
    expected = [
        function(place / 10000 ** (k / 2))
        for place in (row, column)
        for function in (math.sin, math.cos)
        for k in range(2)
    ]
    assert found[row, column].tolist() == pytest.approx(expected, abs=1e-6)


def test_equal_places_of_two_grids_have_equal_positions() -> None:
    coarse, fine = sine_positions((2, 2), 8), sine_positions((6, 6), 8, (2, 2))
    assert torch.allclose(fine[1, 4], coarse[0, 1], atol=1e-6)


@pytest.mark.parametrize("tokens", [16, 64, 256])
def test_a_resampler_gives_a_fixed_number_of_tokens_for_any_grid(tokens: int) -> None:
    network = Resampler(CHANNELS, WIDTH, tokens, heads=2)
    for grid in ((3, 5), (9, 9)):
        assert network(torch.rand(2, *grid, CHANNELS)).shape == (2, tokens, WIDTH)


def test_a_resampler_is_one_cross_attention_with_positions_on_queries_and_keys() -> None:
    network = Resampler(CHANNELS, WIDTH, 4, heads=1).eval()
    features = torch.rand(1, 3, 3, CHANNELS)
    values = network.key_norm(network.input(features.flatten(1, 2)))
    keys = values + sine_positions((3, 3), WIDTH, (2, 2)).flatten(0, 1)
    queries = network.query_norm(network.queries)[None] + sine_positions((2, 2), WIDTH).flatten(0, 1)
    attention = network.attention
    (q, k, v), (bq, bk, bv) = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    read = scaled_dot_product_attention(queries @ q.T + bq, keys @ k.T + bk, values @ v.T + bv)
    assert torch.allclose(network(features), network.output(attention.out_proj(read)), atol=1e-5)


def test_a_projector_adds_three_maps_of_each_field_alone() -> None:
    network = projector()
    for layer in (network.from_features, network.layers[-1]):
        torch.nn.init.normal_(layer.weight)
    features, near = torch.rand(1, 6, 6, CHANNELS), torch.rand(1, 9, DIM)
    field = features[0, 2:4, 2:4].mean(dim=(0, 1))
    expected = network.from_joint(near[0, 4]) + network.from_features(field) + network.layers(field)
    assert torch.allclose(network(pool_fields(features, 3), near)[0, 4], expected, atol=1e-5)


def test_a_projector_begins_with_what_the_joint_space_knows() -> None:
    network, near = projector(), torch.rand(1, 9, DIM)
    assert torch.equal(network(torch.rand(1, 9, CHANNELS), near), network.from_joint(near))


def test_a_mixture_of_many_rows_is_that_of_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture, near = WordMixture(3, DIM, WIDTH), torch.randn(2, 5, DIM)
    mixture.learn(torch.randn(3, DIM), torch.randn(3, WIDTH))
    whole = mixture(near)
    monkeypatch.setattr(fitted, "MIXED", 3)
    assert whole.shape == (2, 5, WIDTH)
    assert torch.allclose(mixture(near), whole, atol=1e-6)
    assert torch.allclose(mixture(near[1, 4]), whole[1, 4], atol=1e-6)


def test_a_mixture_reads_the_words_that_are_near() -> None:
    mixture = WordMixture(3, DIM, WIDTH)
    places, embeddings = torch.randn(3, DIM), torch.randn(3, WIDTH)
    mixture.learn(7 * places, embeddings)
    assert torch.allclose(mixture(2 * places), embeddings, atol=1e-4)  # only directions count
    between = normalize(places[0], dim=0) + normalize(places[1], dim=0)
    assert torch.allclose(mixture(between), (embeddings[0] + embeddings[1]) / 2, atol=1e-3)
    cosines = torch.cosine_similarity(near := torch.randn(DIM), places)
    shares = [math.exp(cosine / 0.02) for cosine in cosines.tolist()]
    expected = sum(share * one for share, one in zip(shares, embeddings, strict=True)) / sum(shares)
    assert torch.allclose(mixture(near), expected, atol=1e-4)
    assert not list(mixture.parameters())


def test_words_are_drawn_by_their_similarity() -> None:
    words = torch.tensor([[3, 8]]).expand(4000, -1)
    drawn = draw_words(words, torch.tensor([[0.6, 0.2]]).expand(4000, -1))
    assert (drawn == 3).float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert set(draw_words(words, torch.tensor([[0.5, -1.0]]).expand(4000, -1)).tolist()) == {3}


def test_the_alignment_loss_is_contrastive_and_equal_words_are_no_negatives() -> None:
    soft, vectors = torch.randn(3, WIDTH), torch.randn(5, WIDTH)
    drawn = torch.tensor([4, 1, 4])
    expected = 0.0
    for one, word in zip(soft, drawn.tolist(), strict=True):
        scores = {row: torch.cosine_similarity(one, vectors[row], dim=0).item() / 0.07 for row in (1, 4)}
        expected += -scores[word] + math.log(sum(math.exp(score) for score in scores.values()))
    assert alignment_loss(soft, drawn, vectors).item() == pytest.approx(expected / 3, rel=1e-4)
    assert alignment_loss(soft, torch.tensor([2, 2, 2]), vectors).item() == pytest.approx(0, abs=1e-6)
