"""The draft is the best linear prediction from kept places, fitted to images, and where training starts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from v2l.errors import V2LError
from v2l.tokenizers.selection.choice import helpful_order
from v2l.tokenizers.selection.draft import EPS, Draft, code_space, distances
from v2l.tokenizers.selection.network import SelectionNetwork
from v2l.tokenizers.selection.settings import SelectionSettings

GRID, CHANNELS, WORDS, JOINT = (3, 4), 10, 6, 5
SETTINGS = SelectionSettings(width=16, merger_blocks=1, decoder_blocks=1, heads=2, draft=True)


@pytest.fixture
def draft() -> Draft:
    made = Draft(WORDS, CHANNELS)
    made.mean.normal_(generator=torch.Generator().manual_seed(0))
    made.common.copy_(torch.tensor([0.2, 0.5, 0.1]))
    made.cross.copy_(torch.tensor([0.2, 0.3, 0.2]))
    made.reach.fill_(1.5)
    return made


@pytest.fixture
def codes() -> Tensor:
    return torch.randn(1, 12, CHANNELS, generator=torch.Generator().manual_seed(1))


def plain_curve(parts: Tensor, one: int, other: int, reach: float) -> float:
    """K of two places of the grid, read from its formula."""
    apart = math.dist(divmod(one, GRID[1]), divmod(other, GRID[1]))
    far, near, own = parts.tolist()
    return far + near * math.exp(-apart / reach) + (own if one == other else 0)


def test_the_draft_is_its_formula(draft: Draft, codes: Tensor) -> None:
    places = [1, 4, 5, 10]
    kept = torch.zeros(1, 12).index_fill(1, torch.tensor(places), 1.0)
    common = torch.tensor([[plain_curve(draft.common, p, q, 1.5) for q in places] for p in places])
    cross = torch.tensor([[plain_curve(draft.cross, p, q, 1.5) for q in places] for p in range(12)])
    common += EPS * draft.common.sum() * torch.eye(4)
    expected = draft.mean + cross @ torch.linalg.inv(common) @ (codes[0, places] - draft.mean)
    torch.testing.assert_close(draft(codes, kept, GRID)[0], expected, atol=1e-4, rtol=1e-4)


def test_dropped_codes_are_not_read_and_the_choice_has_a_gradient(draft: Draft, codes: Tensor) -> None:
    kept = torch.tensor([[1.0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1]])
    other = torch.where(kept[..., None] > 0, codes, torch.randn_like(codes))
    torch.testing.assert_close(draft(other, kept, GRID), draft(codes, kept, GRID))
    kept.requires_grad_()
    draft(codes, kept, GRID).square().sum().backward()
    assert kept.grad is not None
    assert (kept.grad != 0).all()


def test_a_fit_names_patches_by_their_features_and_predicts_better_than_the_mean() -> None:
    generator = torch.Generator().manual_seed(2)
    kinds = normalize(torch.randn(WORDS, CHANNELS, generator=generator), dim=-1)
    words = normalize(torch.randn(WORDS, JOINT, generator=generator), dim=-1)
    # Each half of an image is of one kind, with noise.
    halves = torch.randint(WORDS, (60, 2), generator=generator).repeat_interleave(8, dim=1)
    features = normalize(kinds[halves] + 0.1 * torch.randn(60, 16, CHANNELS, generator=generator), dim=-1)
    draft = Draft(WORDS, CHANNELS)
    draft.fit(features, words[halves], words, naming=1.0)
    torch.testing.assert_close((draft.prototypes * kinds).sum(dim=1), torch.ones(WORDS), atol=0.1, rtol=0)
    kept = torch.zeros(60, 16).index_fill(1, torch.tensor([1, 6, 9, 14]), 1.0)
    drafted = draft(draft.prototypes[halves], kept, (4, 4))
    cosine = torch.cosine_similarity(drafted, features, dim=-1).mean()
    assert cosine > torch.cosine_similarity(draft.mean.expand_as(features), features, dim=-1).mean() + 0.3


def test_products_of_the_code_space_are_those_of_both_parts() -> None:
    features, joint = torch.randn(2, CHANNELS), torch.randn(2, JOINT)
    space = code_space(features, joint, 0.3)
    expected = features[0] @ features[1] + 0.3 * joint[0] @ joint[1]
    torch.testing.assert_close(space[0] @ space[1], expected)


def test_an_untrained_network_gives_the_draft() -> None:
    torch.manual_seed(0)
    words = normalize(torch.randn(WORDS, JOINT), dim=-1)
    network = SelectionNetwork(SETTINGS, CHANNELS, words)
    assert network.draft is not None
    network.draft.prototypes.copy_(normalize(torch.randn(WORDS, CHANNELS), dim=-1))
    features, joint = torch.rand(2, *GRID, CHANNELS), normalize(torch.randn(2, 12, JOINT), dim=-1)
    kept = (torch.rand(2, 12) < 0.5).float()
    with torch.no_grad():
        patches = network.patches(features)
        codes = network.code(network.merge(patches, kept), network.starts(features, joint))
        rebuilt = network.rebuild(codes.entries, kept, GRID)
    scores = normalize(features.flatten(1, 2), dim=-1) @ network.draft.prototypes.T + joint @ words.T
    assert torch.equal(codes.indices, scores.argmax(dim=-1))
    prototypes = network.draft.prototypes[codes.indices]
    torch.testing.assert_close(rebuilt, network.draft(prototypes, kept, GRID), atol=1e-5, rtol=1e-4)


def test_a_gain_is_what_a_further_patch_takes_off_the_squared_error(draft: Draft, codes: Tensor) -> None:
    generator = torch.Generator().manual_seed(3)
    features = torch.randn(12, CHANNELS, generator=generator)

    def error(places: list[int]) -> float:
        kept = torch.zeros(1, 12).index_fill(1, torch.tensor(places, dtype=torch.int64), 1.0)
        return (draft(codes, kept, GRID)[0] - features).square().sum().item()

    order = helpful_order(draft, codes[0], features, GRID, most=4)
    for step in range(4):
        before = order.places[:step].tolist()
        errors = [error([*before, place]) if place not in before else math.inf for place in range(12)]
        assert int(order.places[step]) == min(range(12), key=errors.__getitem__)
        gain = (error(before) - min(errors)) / 12
        assert order.gains[step].item() == pytest.approx(gain, rel=1e-2, abs=1e-2)


def test_distances_are_those_of_cells() -> None:
    apart = distances((2, 3))
    assert apart[0, 5].item() == pytest.approx(5**0.5)
    assert apart.diagonal().abs().max() == 0


def test_a_draft_needs_words() -> None:
    with pytest.raises(V2LError, match="a draft with the codebook words"):
        SelectionSettings(codebook="learned", draft=True)
