"""The evaluation of a selection: equally many patches for every choice, and figures for every share."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_namer import tiny_namer
from tiny_words_tokenizer import QuarterTokenizer

from v2l.errors import V2LError
from v2l.evaluation.selection import choices, evaluate_selection, page
from v2l.sources import find_images
from v2l.tokenizers.selection.model import SelectionTokenizer
from v2l.tokenizers.selection.selector import keep_best
from v2l.tokenizers.selection.settings import SelectionSettings


def test_every_choice_keeps_equally_many_patches() -> None:
    chances = torch.randn(1, 96, 2).log_softmax(dim=-1)
    for ratio, count in ((0.2, 19), (0.33, 32), (1.0, 96)):
        found = choices(keep_best(chances, ratio), torch.Generator().manual_seed(0))
        assert [int(kept.sum()) for kept in found.values()] == [count] * 3
        assert set(found["uniform"].unique().tolist()) <= {0.0, 1.0}


def test_each_share_has_figures_with_intervals(samples: Path) -> None:
    torch.manual_seed(0)
    settings = SelectionSettings(side=32, width=16, merger_blocks=1, decoder_blocks=1, heads=2)
    tokenizer = SelectionTokenizer(settings, 48, torch.arange(40), tiny_namer()).eval()
    files = find_images(samples)[:3]
    found = evaluate_selection(tokenizer, files, (0.2, 0.5))
    assert list(found["cosine"]) == ["0.2", "0.5"]
    assert found["n"] == 3
    assert "own minus random" in page(found)
    assert "mean feature" not in page(found)  # of a draft, which this tokenizer does not have
    assert found == evaluate_selection(tokenizer, files, (0.2, 0.5))
    with pytest.raises(V2LError, match="'tiny-quarters' does not select patches"):
        evaluate_selection(QuarterTokenizer(), files)


def test_a_draft_stands_beside_what_was_trained(samples: Path) -> None:
    torch.manual_seed(0)
    settings = SelectionSettings(side=32, width=16, merger_blocks=1, decoder_blocks=1, heads=2, draft=True)
    tokenizer = SelectionTokenizer(settings, 48, torch.arange(40), tiny_namer()).eval()
    assert tokenizer.network.draft is not None
    tokenizer.network.draft.prototypes.copy_(torch.rand(40, 48))
    found = evaluate_selection(tokenizer, find_images(samples)[:2], (0.5,))["cosine"]["0.5"]
    assert found["uniform, draft"] == found["uniform"]  # before training
    assert found["mean feature"]["value"] == 0  # not fitted
