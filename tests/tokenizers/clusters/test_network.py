"""SeTok's merger, detokenizer and concept loss agree with their descriptions read plainly."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from v2l.errors import V2LError
from v2l.tokenizers.clusters.concepts import TEMPERATURE, concept_loss, concepts_of_batch
from v2l.tokenizers.clusters.network import (
    ClusterNetwork,
    DividedImages,
    MapperLayer,
    MergedTokens,
    Merger,
    means_of_clusters,
)
from v2l.tokenizers.clusters.settings import NetworkSettings
from v2l.tokenizers.positions import sine_positions

SETTINGS = NetworkSettings(
    width=16,
    heads=2,
    mlp_ratio=2,
    token_width=12,
    mapper_layers=3,
    decoder_blocks=1,
    cells=4,
    image_size=16,
)
CHANNELS, JOINT = 20, 8


@pytest.fixture(scope="module")
def network() -> ClusterNetwork:
    torch.manual_seed(0)
    return ClusterNetwork(SETTINGS, CHANNELS, JOINT).eval()


@pytest.fixture
def features() -> Tensor:
    return torch.randn(2, 3, 4, CHANNELS, generator=torch.Generator().manual_seed(1))


MEMBERS = torch.tensor([[0, 0, 1, 1] * 3, [0, 1, 2, 0] * 3])
CELLS = MEMBERS.view(2, 3, 4)


def divided(features: Tensor) -> DividedImages:
    """Two images with the clusters `MEMBERS`."""
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    return DividedImages(features, MEMBERS, CELLS, images)


def test_a_mean_is_that_of_its_members_and_missing_clusters_are_padding() -> None:
    rows = torch.randn(2, 12, 5)
    means, present = means_of_clusters(rows, MEMBERS, 3)
    for image in range(2):
        for cluster in range(int(MEMBERS[image].max()) + 1):
            inside = [rows[image, place] for place in range(12) if MEMBERS[image, place] == cluster]
            torch.testing.assert_close(means[image, cluster], sum(inside) / len(inside))
    assert present.tolist() == [[1, 1, 0], [1, 1, 1]]
    assert means[0, 2].abs().max() == 0


class Alone(nn.Module):
    """In place of the block across clusters: no cluster reads another."""

    def forward(self, rows: Tensor, weights: Tensor) -> Tensor:
        return rows


def test_patches_read_their_own_cluster_only_and_clusters_read_each_other(features: Tensor) -> None:
    torch.manual_seed(0)
    merger = Merger(SETTINGS, CHANNELS)
    changed = features.clone()
    changed[0, :, 2:] = torch.randn(3, 2, CHANNELS)  # the patches of cluster 1 of the first image
    with torch.no_grad():
        before, after = merger(features, MEMBERS, 3)[0], merger(changed, MEMBERS, 3)[0]
        assert not torch.allclose(before[0, 0], after[0, 0], atol=1e-4)
        merger.across = Alone()
        before, after = merger(features, MEMBERS, 3)[0], merger(changed, MEMBERS, 3)[0]
    torch.testing.assert_close(before[0, 0], after[0, 0], atol=1e-6, rtol=0)
    assert not torch.allclose(before[0, 1], after[0, 1], atol=1e-3)


def test_padding_changes_nothing(network: ClusterNetwork, features: Tensor) -> None:
    with torch.no_grad():
        alone = network(divided(features).select(slice(1)), merged=1)
        among = network(divided(features), merged=2)
    torch.testing.assert_close(alone.tokens.vectors[0], among.tokens.vectors[0, :2], atol=1e-5, rtol=0)
    torch.testing.assert_close(alone.images[0], among.images[0], atol=1e-5, rtol=0)
    assert among.images.shape == (2, 3, 16, 16)


def test_the_last_images_of_a_batch_have_plain_means(network: ClusterNetwork, features: Tensor) -> None:
    with torch.no_grad():
        both = network(divided(features), merged=1)
        merged, means = (part(features, MEMBERS, 3) for part in (network.merger, network.means))
    torch.testing.assert_close(both.tokens.vectors[0], merged[0][0])
    torch.testing.assert_close(both.tokens.vectors[1], means[0][1])


def test_every_second_layer_of_the_mapper_reads_the_tokens(network: ClusterNetwork) -> None:
    layers = [layer for layer in network.detokenizer.mapper if isinstance(layer, MapperLayer)]
    assert [layer.to_tokens is not None for layer in layers] == [True, False, True]


def test_the_order_of_the_tokens_does_not_matter(network: ClusterNetwork) -> None:
    vectors, order = torch.randn(1, 4, 12), torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        images = network.detokenizer(MergedTokens(vectors, torch.ones(1, 4), CELLS[:1]))
        again = network.detokenizer(MergedTokens(vectors[:, order], torch.ones(1, 4), CELLS[:1]))
    torch.testing.assert_close(images, again, atol=1e-5, rtol=0)


def plain_concept_loss(tokens: Tensor, present: Tensor, has: Tensor, vectors: Tensor) -> float:
    """The loss, read from its formula one number at a time."""
    losses = []
    for image, own in zip(range(len(tokens)), has.tolist(), strict=True):
        scores = [
            max(
                float(tokens[image, place] @ vector) / TEMPERATURE
                for place in range(tokens.shape[1])
                if present[image, place]
            )
            for vector in vectors
        ]
        others = sum(math.exp(score) for score, mine in zip(scores, own, strict=True) if not mine)
        terms = [
            -math.log(math.exp(score) / (math.exp(score) + others))
            for score, mine in zip(scores, own, strict=True)
            if mine
        ]
        losses.append(sum(terms) / len(terms))
    return sum(losses) / len(losses)


def test_the_concept_loss_is_its_formula() -> None:
    generator = torch.Generator().manual_seed(4)
    tokens = normalize(torch.randn(3, 2, JOINT, generator=generator), dim=-1)
    vectors = normalize(torch.randn(5, JOINT, generator=generator), dim=-1)
    present = torch.tensor([[1.0, 1], [1, 0], [1, 1]])
    has = torch.tensor([[1, 0, 0, 1, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 1]], dtype=torch.bool)
    expected = plain_concept_loss(tokens, present, has, vectors)
    assert concept_loss(tokens, present, has, vectors).item() == pytest.approx(expected, rel=1e-5)


def test_one_image_alone_has_no_concept_loss() -> None:
    tokens = normalize(torch.randn(1, 2, JOINT), dim=-1).requires_grad_()
    loss = concept_loss(tokens, torch.ones(1, 2), torch.ones(1, 3, dtype=torch.bool), tokens[0].detach()[:1])
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert tokens.grad is not None
    assert tokens.grad.isfinite().all()


def test_each_concept_of_a_batch_counts_once() -> None:
    rows = torch.tensor([[7, 7, 3], [9, 3, 3]])
    concepts, has = concepts_of_batch(rows)
    assert concepts.tolist() == [3, 7, 9]
    assert has.tolist() == [[True, True, False], [True, False, True]]


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(V2LError, match="a multiple of the heads"):
        NetworkSettings(width=10, heads=4)
    with pytest.raises(V2LError, match="a multiple of 16"):
        NetworkSettings(cells=8, image_size=100)


DRAFTS = replace(SETTINGS, reads_map=True, colour_terms=2)


def test_with_colours_an_untrained_network_paints_its_draft(features: Tensor) -> None:
    torch.manual_seed(0)
    network = ClusterNetwork(DRAFTS, CHANNELS, JOINT).eval()
    with torch.no_grad():
        painted = network(divided(features), merged=1)
        tokens = painted.tokens
        assert tokens.vectors.shape == (2, 3, DRAFTS.vector_width) == (2, 3, 12 + 3 * 4)
        draft = network.detokenizer.draft(tokens, network.detokenizer.fields(tokens))
    torch.testing.assert_close(painted.images, draft)
    assert draft.std() > 0.01


def test_a_query_starts_with_the_tokens_that_cover_its_cell(features: Tensor) -> None:
    torch.manual_seed(0)
    network = ClusterNetwork(replace(SETTINGS, reads_map=True, mapper_layers=1), CHANNELS, JOINT).eval()
    seen: list[Tensor] = []
    network.detokenizer.mapper[0] = Seen(seen)
    with torch.no_grad():
        tokens = network(divided(features), merged=2).tokens
        entered = network.detokenizer.enter(tokens.vectors)
    places = network.detokenizer.queries + sine_positions((4, 4), SETTINGS.width).flatten(0, 1)
    queries = seen[0] - places
    left, right = CELLS[0, 0, 0], CELLS[0, 0, -1]
    torch.testing.assert_close(queries[0, 0] - queries[0, 3], entered[0, left] - entered[0, right])


class Seen(nn.Module):
    """In place of a layer of the mapper: keeps the queries."""

    def __init__(self, seen: list[Tensor]) -> None:
        super().__init__()
        self.seen = seen

    def forward(self, queries: Tensor, tokens: Tensor, present: Tensor) -> Tensor:
        self.seen += [queries]
        return queries
