"""One soft token for each cluster of patches, the largest first."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.tokenizers.adapters.clustered import ClusteredTokenizer, members_of
from v2l.tokenizers.adapters.model import AdapterSettings

CHANNELS, WIDTH = 6, 8


def tokenizer(tokens: int = 4) -> ClusteredTokenizer:
    settings = AdapterSettings(3, CHANNELS, WIDTH, tokens, 5, 1.0, "colours", "", "tiny", "")
    return ClusteredTokenizer(settings)


def four_kinds() -> tuple[Tensor, Tensor]:
    """Patches (1, 4, 4, C) of four kinds, and the kind of each (16,): 7, 5, 3 and 1 of them."""
    kinds = torch.tensor([0] * 7 + [1] * 5 + [2] * 3 + [3])[torch.randperm(16, generator=seeded(1))]
    means = 4 * torch.randn(4, CHANNELS, generator=seeded(2))
    features = means[kinds] + 0.01 * torch.randn(16, CHANNELS, generator=seeded(3))
    return features.view(1, 4, 4, CHANNELS), kinds


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_clusters_are_the_kinds_of_patches_by_their_size() -> None:
    features, kinds = four_kinds()
    assert torch.equal(members_of(features.flatten(0, 2), 4), kinds)
    fields = tokenizer().fields(features)
    for kind in range(4):
        expected = features.flatten(0, 2)[kinds == kind].mean(dim=0)
        torch.testing.assert_close(fields[0, kind], expected)
    assert torch.equal(tokenizer().layout_of(features).tokens.flatten(), kinds)


@pytest.mark.parametrize("tokens", [1, 4, 9])
def test_every_image_has_as_many_tokens_as_asked_even_one_of_equal_patches(tokens: int) -> None:
    features = torch.cat(
        [torch.zeros(1, 3, 3, CHANNELS), torch.randn(1, 3, 3, CHANNELS, generator=seeded(0))]
    )
    fields = tokenizer(tokens).fields(features)
    assert fields.shape == (2, tokens, CHANNELS)
    assert fields.isfinite().all()
    for image in features.flatten(1, 2):
        assert members_of(image, tokens).unique().tolist() == list(range(tokens))


def test_more_tokens_than_patches_are_refused() -> None:
    with pytest.raises(V2LError, match="16 clusters for 9 patches"):
        tokenizer(16).fields(torch.zeros(1, 3, 3, CHANNELS))
