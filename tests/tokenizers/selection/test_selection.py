"""LaVIT's selection: decisions, merging and rebuilding agree with the published descriptions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_namer import tiny_namer
from torch import Tensor

from v2l.errors import V2LError
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokenizers.selection.merger import MergerBlock
from v2l.tokenizers.selection.model import SelectionTokenizer
from v2l.tokenizers.selection.selector import Selector, cut_for, decide, draw, keep_best, ratio_loss
from v2l.tokenizers.selection.settings import SelectionConfig, SelectionSettings
from v2l.tokenizers.transformer import WeightedAttention
from v2l.tokens import ClusterMap

SETTINGS = SelectionSettings(
    side=32,
    width=16,
    merger_blocks=2,
    decoder_blocks=1,
    heads=2,
    mlp_ratio=2,
    learned_size=12,
    learned_width=4,
)


def tiny_selection(settings: SelectionSettings = SETTINGS) -> SelectionTokenizer:
    torch.manual_seed(0)
    return SelectionTokenizer(settings, 48, torch.arange(0, 40, 2), tiny_namer()).eval()


@pytest.fixture(scope="module")
def tokenizer() -> SelectionTokenizer:
    return tiny_selection()


@pytest.fixture
def chances() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(3, 20, 2, generator=generator).log_softmax(dim=-1)


def test_half_of_the_selectors_channels_are_means_over_all_patches() -> None:
    torch.manual_seed(0)
    selector, features = Selector(8), torch.randn(2, 5, 8)
    entered = selector.enter(features)
    for image in range(2):
        for patch in range(5):
            seen = torch.cat([entered[image, patch, :4], entered[image, :, 4:].mean(dim=0)])
            expected = selector.decide(seen).log_softmax(dim=-1)
            torch.testing.assert_close(selector(features)[image, patch], expected)


def test_evaluation_keeps_what_is_likelier_and_never_nothing(chances: Tensor) -> None:
    kept = decide(chances)
    assert torch.equal(kept, (chances.exp()[..., 0] > 0.5).float())
    hopeless = torch.tensor([[[-9.0, 0.0], [-5.0, 0.0], [-7.0, 0.0]]])
    assert decide(hopeless).tolist() == [[0, 1, 0]]


def test_the_cut_keeps_the_wanted_share_of_many_images_but_not_of_each(chances: Tensor) -> None:
    cut = cut_for(chances - 5, 0.25)  # log-odds do not change when both probabilities do
    kept = decide(chances, cut)
    assert kept.mean().item() == pytest.approx(0.25, abs=0.02)
    assert len(set(kept.sum(dim=1).tolist())) > 1


def test_a_cut_is_found_among_more_patches_than_a_quantile_takes() -> None:
    patches = 2**24 + 1
    odds = torch.arange(patches, dtype=torch.float32).view(1, -1)
    cut = cut_for(torch.stack([odds, torch.zeros_like(odds)], dim=-1), 0.25)
    assert cut.item() == pytest.approx(0.75 * patches, rel=1e-6)


def test_training_draws_each_choice_with_its_probability_and_a_gradient(chances: Tensor) -> None:
    torch.manual_seed(0)
    chances.requires_grad_()
    share = torch.stack([draw(chances, 1.0) for _ in range(600)]).mean(dim=0)
    torch.testing.assert_close(share, chances.exp()[..., 0], atol=0.09, rtol=0)
    kept = draw(chances, 1.0)
    assert set(kept.unique().tolist()) <= {0.0, 1.0}
    kept.sum().backward()
    assert chances.grad is not None
    assert chances.grad.abs().sum() > 0


def test_a_wanted_share_keeps_the_likeliest_patches(chances: Tensor) -> None:
    kept = keep_best(chances, 0.25)
    assert kept.sum(dim=1).tolist() == [5, 5, 5]
    difference = chances[..., 0] - chances[..., 1]
    assert (
        difference[kept.bool()].view(3, 5).amin(dim=1) >= difference[~kept.bool()].view(3, 15).amax(dim=1)
    ).all()


def test_the_ratio_loss_is_the_squared_error_of_the_kept_share() -> None:
    kept = torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 1]])
    assert ratio_loss(kept, 0.5).item() == pytest.approx((0.25**2 + 0.5**2) / 2)


def test_weighted_attention_is_softmax_over_the_keys_of_weight_one() -> None:
    torch.manual_seed(0)
    attention, rows = WeightedAttention(8, 2), torch.randn(1, 5, 8)
    weights = torch.tensor([[[1.0, 0, 1, 1, 0]]])
    found = attention(rows, rows, weights)
    some = rows[:, [0, 2, 3]]
    torch.testing.assert_close(attention(rows, some, torch.ones(1, 1, 3)), found, atol=1e-4, rtol=0)
    key, value = attention.key_value(some).chunk(2, dim=-1)
    heads = [slice(0, 4), slice(4, 8)]
    query = attention.query(rows)
    merged = [
        (query[..., part] @ key[..., part].transpose(1, 2) / 2).softmax(dim=-1) @ value[..., part]
        for part in heads
    ]
    torch.testing.assert_close(attention.out(torch.cat(merged, dim=-1)), found, atol=1e-4, rtol=0)


def test_what_is_not_read_changes_nothing_however_high_its_score_is() -> None:
    torch.manual_seed(0)
    attention, rows = WeightedAttention(8, 2), torch.randn(1, 3, 8)
    weights = torch.tensor([[[1.0, 1, 0]]], requires_grad=True)
    alone = attention(rows, rows[:, :2], torch.ones(1, 1, 2))
    for factor in (1, 100, 1000):
        keys = torch.cat([rows[:, :2], factor * rows[:, 2:]], dim=1)
        found = attention(rows, keys, weights)
        torch.testing.assert_close(found, alone, atol=1e-5, rtol=0)
        (gradient,) = torch.autograd.grad(found.sum(), weights)
        assert gradient.isfinite().all()


def test_a_query_that_may_read_nothing_gets_nothing() -> None:
    attention, rows = WeightedAttention(8, 2), torch.randn(1, 3, 8)
    found = attention(rows, rows, torch.zeros(1, 1, 3))
    torch.testing.assert_close(found, attention.out.bias.expand(1, 3, 8))


def test_a_kept_token_reads_earlier_kept_tokens_and_dropped_patches_only() -> None:
    torch.manual_seed(0)
    block, patches = MergerBlock(8, 2, 2.0), torch.randn(1, 4, 8)
    kept = torch.tensor([[0.0, 1, 0, 1]])
    before = block(patches, patches, kept)
    later = patches.clone()
    later[0, 3, 0] += 1  # a later kept patch
    torch.testing.assert_close(block(later, later, kept)[0, 1], before[0, 1])
    dropped = patches.clone()
    dropped[0, 2, 0] += 1  # a later dropped patch
    assert not torch.allclose(block(dropped, dropped, kept)[0, 1], before[0, 1])


def test_the_choice_of_patches_has_a_gradient_from_the_rebuilt_features(
    tokenizer: SelectionTokenizer,
) -> None:
    network, features = tokenizer.network, torch.rand(2, 4, 6, 48)
    patches = network.patches(features)
    torch.manual_seed(0)
    kept = draw(network.selector(patches), 1.0)
    near = tokenizer.joint_encoder.to_joint_space(features).flatten(1, 2)
    codes = network.code(network.merge(patches, kept), near)
    network.rebuild(codes.entries, kept, (4, 6)).square().mean().backward()
    first = network.selector.enter[1].weight.grad
    assert first is not None
    assert first.abs().sum() > 0
    network.zero_grad()


def test_each_kept_patch_is_a_token_with_a_word_and_a_cell(tokenizer: SelectionTokenizer) -> None:
    images = torch.rand(3, 3, 64, 96)
    tokens, selected = tokenizer.encode(images), tokenizer.select(images)
    assert isinstance(tokens.layout, ClusterMap)
    assert tokens.layout.tokens.shape == (3, 4, 6)
    for image in range(3):
        count = int(selected.kept[image].sum())
        assert len(tokens.places(image)) == len(tokens.words[image]) == count
        cells = tokens.layout.tokens[image].flatten()
        assert cells[cells >= 0].tolist() == list(range(count))
        rows = tokenizer.rows[selected.codes.indices[image][selected.kept[image].bool()]]
        assert tokens.ids[image, :count].tolist() == rows.tolist()
        assert [word.word for word in tokens.words[image]] == [f"w{row}" for row in rows.tolist()]


def test_the_tokens_of_an_image_are_the_same_every_time_and_in_a_batch(tokenizer: SelectionTokenizer) -> None:
    images = torch.rand(2, 3, 40, 40)
    batch = tokenizer.encode(images)
    for place in range(2):
        assert batch.strings(place) == tokenizer.encode(images[place : place + 1]).strings()


def test_features_are_rebuilt_from_the_kept_codes_alone(tokenizer: SelectionTokenizer) -> None:
    selected = tokenizer.select(torch.rand(1, 3, 32, 32), ratio=0.25)
    assert selected.kept.sum() == 4
    rebuilt = tokenizer.rebuild(selected)
    assert rebuilt.shape == selected.features.shape
    dropped = selected.kept[0] == 0
    entries = selected.codes.entries.clone()
    entries[0, dropped] = 9.0
    other = selected._replace(codes=selected.codes._replace(entries=entries))
    torch.testing.assert_close(tokenizer.rebuild(other), rebuilt)


@pytest.mark.parametrize("codebook", ["words", "learned"])
def test_it_comes_back_from_its_directory(codebook: str, tmp_path: Path) -> None:
    tokenizer = tiny_selection(replace(SETTINGS, codebook=codebook))
    tokenizer.save_pretrained(tmp_path / "lavit")
    again = load_tokenizer(tmp_path / "lavit", device="cpu")
    assert isinstance(again, SelectionTokenizer)
    again.namer.use_joint_encoder(tokenizer.joint_encoder)
    images = torch.rand(2, 3, 32, 48)
    assert again.encode(images).words == tokenizer.encode(images).words


def test_the_presets_are_read_and_checked(tmp_path: Path) -> None:
    assert SelectionConfig.load("paper").network.codebook == "learned"
    assert SelectionConfig.load().network.width == 128
    bad = tmp_path / "bad.yaml"
    bad.write_text("model: {}\n", encoding="utf-8")
    with pytest.raises(V2LError, match="unknown section 'model'; allowed: network, training"):
        SelectionConfig.load(bad)
    with pytest.raises(V2LError, match="width 10 with 4 heads"):
        SelectionSettings(width=10, heads=4)


def test_what_ships_is_its_preset() -> None:
    tokenizer = load_tokenizer("lavit", device="cpu")
    assert isinstance(tokenizer, SelectionTokenizer)
    assert tokenizer.namer.ships
    assert tokenizer.selection_settings == SelectionConfig.load("small").network
