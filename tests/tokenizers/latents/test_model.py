"""A latent tokenizer writes sentences, decodes every length, saves itself, and refuses what it cannot decode."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_titok import TINY, learned_titok, tiny_titok
from tiny_tokenizer import tiny_tokenizer

from v2l.errors import V2LError
from v2l.pipeline.reconstruction import decode_photograph, encode_photograph
from v2l.token_file import TokenFile
from v2l.tokenizers.latents.frozen_grid import FrozenGrid
from v2l.tokenizers.latents.model import TiTokTokenizer
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokens import VisualTokens


@pytest.fixture(scope="module", params=[0, 1], ids=["linear encoder", "transformer"])
def tokenizer(request: pytest.FixtureRequest) -> TiTokTokenizer:
    return tiny_titok(replace(TINY, encoder_layers=request.param))


@pytest.fixture
def tiny_grid_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("v2l.tokenizers.latents.frozen_grid.load_tokenizer", lambda *_: tiny_tokenizer())


def photograph(height: int = 40, width: int = 24) -> torch.Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(4))


def test_an_image_is_a_sentence_of_the_codebooks_words(tokenizer: TiTokTokenizer) -> None:
    tokens = tokenizer.encode(photograph())
    assert tokens.kind == "codes"
    assert tokens.layout is None
    assert tokens.ids is not None
    assert tokens.ids.shape == (1, 8)
    assert [word.ids for word in tokens.words[0]] == [(code,) for code in tokens.ids[0].tolist()]
    assert tokens.words[0][0].word == f"word{int(tokens.ids[0, 0]) - 100}"
    assert tokenizer.explain(photograph()[0], tokens).words == tuple(tokens.strings())


@pytest.mark.parametrize("length", TINY.lengths)
def test_every_length_is_decoded_and_begins_the_longer_ones(tokenizer: TiTokTokenizer, length: int) -> None:
    whole, short = tokenizer.encode(photograph()), tokenizer.with_length(length).encode(photograph())
    assert whole.ids is not None
    assert short.ids is not None
    assert torch.equal(short.ids, whole.ids[:, :length])
    assert tokenizer.decode(short).shape == (1, 3, 32, 32)
    assert tokenizer.length == 8  # the other one keeps its length


def test_ids_become_the_entries_that_the_encoder_chose(tokenizer: TiTokTokenizer) -> None:
    network = tokenizer.network
    coded = network.encode(tokenizer.patches(tokenizer.square(photograph(), 32)), 8)
    assert torch.allclose(network.entries(coded.indices), coded.entries, atol=1e-5)
    assert network.entries(coded.indices[:, :2]).shape == (1, 2, 8)
    maps = [quantizer.map for quantizer in network.quantizers]
    assert len(maps) == 3
    assert not torch.allclose(maps[0], maps[1])  # each length's block has its own


def test_the_decoder_starts_from_what_the_linear_code_decodes(tokenizer: TiTokTokenizer) -> None:
    network = tokenizer.network
    assert network.linear is not None
    entries = network.entries(torch.arange(16).view(2, 8))
    linear = network.linear.inverse(network.linear.spread(entries, 0))
    assert torch.equal(network.features(entries), linear)  # before training


def test_an_image_of_any_aspect_ratio_comes_back_whole_at_its_own_size(tokenizer: TiTokTokenizer) -> None:
    image = photograph(50, 31)[0]
    tokens = tokenizer.encode_whole(image)
    assert tokenizer.decode_whole(tokens, (50, 31)).shape == (3, 50, 31)


def test_an_image_of_one_colour_is_decoded(tokenizer: TiTokTokenizer) -> None:
    decoded = tokenizer.decode(tokenizer.encode(torch.full((1, 3, 32, 32), 0.25)))
    assert decoded.isfinite().all()
    assert decoded.min() >= 0
    assert decoded.max() <= 1


def test_a_saved_tokenizer_is_the_same_without_a_copy_of_the_grid(
    tokenizer: TiTokTokenizer, tmp_path: Path, tiny_grid_ships: None
) -> None:
    tokenizer.save_pretrained(tmp_path / "model")
    loaded = load_tokenizer(tmp_path / "model", device="cpu")
    tokens, again = tokenizer.encode(photograph()), loaded.encode(photograph())
    assert torch.equal(tokens.ids, again.ids)
    assert torch.equal(tokenizer.decode(tokens), loaded.decode(again))
    assert loaded.fingerprint == tokenizer.fingerprint
    assert not any("grid" in name for name in loaded.state_dict())
    assert load_tokenizer(f"{tmp_path / 'model'}:4", device="cpu").encode(photograph()).ids.shape == (1, 4)


def test_half_precision_keeps_whole_numbers(
    tokenizer: TiTokTokenizer, tmp_path: Path, tiny_grid_ships: None
) -> None:
    tokenizer.save_pretrained(tmp_path / "model", half=True)
    loaded = TiTokTokenizer.from_pretrained(tmp_path / "model", "cpu")
    assert loaded.network.linear is not None
    assert tokenizer.network.linear is not None
    assert torch.equal(loaded.network.linear.places, tokenizer.network.linear.places)


def test_a_checkpoint_of_another_grid_is_refused(
    tokenizer: TiTokTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer.save_pretrained(tmp_path / "model")
    monkeypatch.setattr(
        "v2l.tokenizers.latents.frozen_grid.load_tokenizer", lambda *_: tiny_tokenizer(seed=5)
    )
    with pytest.raises(V2LError, match="decodes by the grid tokenizer"):
        load_tokenizer(tmp_path / "model", device="cpu")


def test_learned_codes_have_no_words_and_are_decoded(tmp_path: Path, tiny_grid_ships: None) -> None:
    learned = learned_titok()
    tokens = learned.encode(photograph())
    assert tokens.ids is not None
    assert tokens.ids.shape == (1, 4)
    assert tokens.words == ()
    assert learned.vocabulary is None
    assert learned.decode(tokens).shape == (1, 3, 32, 32)
    learned.save_pretrained(tmp_path / "model")
    assert torch.equal(load_tokenizer(tmp_path / "model", device="cpu").encode(photograph()).ids, tokens.ids)


def test_a_token_file_goes_round_at_every_length_and_is_refused_by_another_checkpoint(
    tokenizer: TiTokTokenizer, tmp_path: Path
) -> None:
    image = photograph()[0]
    for length in TINY.lengths:
        file = encode_photograph(tokenizer.with_length(length), image)
        file.write(tmp_path / "t.v2l")
        read = TokenFile.read(tmp_path / "t.v2l")
        decoded = decode_photograph(tokenizer, read)
        assert torch.equal(
            decoded, tokenizer.decode_whole(tokenizer.tokens_of_streams(file.streams), (40, 24))
        )
    with pytest.raises(V2LError, match="same checkpoint"):
        decode_photograph(tiny_titok(seed=1, fitted=False), read)


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (torch.full((1, 3), 100), "no length of 3 codes; allowed: 2, 4, 8"),
        (torch.full((1, 4), 3), "the id 3, which is no word"),
    ],
)
def test_codes_that_the_model_does_not_have_are_refused(
    tokenizer: TiTokTokenizer, ids: torch.Tensor, message: str
) -> None:
    with pytest.raises(V2LError) as caught:
        tokenizer.decode(VisualTokens("codes", ids))
    assert message in str(caught.value)


def test_rows_outside_a_learned_codebook_are_refused() -> None:
    with pytest.raises(V2LError, match="outside the codebook"):
        learned_titok().decode(VisualTokens("codes", torch.full((1, 4), 16)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebook": "learned"}, "got linear_path with reads = features and codebook = learned"),
        ({"linear_path": False, "encoder_layers": 0}, "got no encoder"),
    ],
)
def test_settings_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(V2LError, match=message):
        replace(TINY, **change)


def test_a_length_that_the_model_does_not_have_is_refused(tokenizer: TiTokTokenizer) -> None:
    with pytest.raises(V2LError, match="no length of 5 codes"):
        tokenizer.with_length(5)


def test_the_number_of_tokens_of_the_grid_cannot_be_chosen() -> None:
    assert tiny_tokenizer().lengths == ()
    with pytest.raises(V2LError, match="cannot be chosen"):
        tiny_tokenizer().with_length(4)


def test_a_tokenizer_without_a_grid_is_no_proxy() -> None:
    with pytest.raises(V2LError, match="one with a grid"):
        FrozenGrid.of(tiny_titok())
