"""The VQGAN tokenizer keeps the contract, and its codes are what its decoder reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_tokenizer import FOLDED
from tiny_vqgan import VQGAN_NETWORK, tiny_vqgan

from v2l.config import Config, load_config
from v2l.errors import V2LError
from v2l.pipeline.reconstruction import decode_photograph, encode_photograph, reconstruct_image
from v2l.token_file import TokenFile
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokenizers.needs import require_words
from v2l.tokenizers.vqgan.model import VQGANTokenizer
from v2l.tokens import CellGrid, VisualTokens

IMAGES = torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("quantizer", ["averaged", "learned", "cosine"])
def test_it_comes_back_from_its_directory(tmp_path: Path, quantizer: str) -> None:
    tokenizer = tiny_vqgan(quantizer)
    tokenizer.save_pretrained(tmp_path / "checkpoint")
    again = load_tokenizer(tmp_path / "checkpoint", device="cpu")
    assert isinstance(again, VQGANTokenizer)
    tokens = again.encode(IMAGES)
    assert torch.equal(tokens.ids, tokenizer.encode(IMAGES).ids)
    assert again.fingerprint == tokenizer.fingerprint
    assert torch.equal(again.decode(tokens), tokenizer.decode(tokens))


def test_codes_are_rows_of_the_codebook_in_a_grid() -> None:
    tokenizer = tiny_vqgan()
    tokens = tokenizer.encode(IMAGES)
    assert tokens.kind == "codes"
    assert tokens.layout == CellGrid(4, 4)
    assert tokens.ids is not None
    assert 0 <= tokens.ids.min() <= tokens.ids.max() < 24
    assert tokenizer.decode(tokens).shape == (2, 3, 32, 32)


def test_a_photograph_goes_through_its_token_file(tmp_path: Path) -> None:
    tokenizer = tiny_vqgan()
    file = encode_photograph(tokenizer, IMAGES[0])
    assert file.streams[0].rows.shape == (5, 7)
    file.write(tmp_path / "a.v2l")
    decoded = decode_photograph(tokenizer, TokenFile.read(tmp_path / "a.v2l"))
    assert torch.equal(decoded, reconstruct_image(tokenizer, IMAGES[0]).image)
    assert decoded.shape == IMAGES[0].shape


def test_it_has_no_words_and_refuses_foreign_codes() -> None:
    tokenizer = tiny_vqgan()
    with pytest.raises(V2LError, match="words for a whole image"):
        require_words(tokenizer, "v2l words")
    with pytest.raises(V2LError, match="0 to 23"):
        tokenizer.decode(VisualTokens("codes", torch.full((1, 4), 24), layout=CellGrid(2, 2)))
    with pytest.raises(V2LError, match="without a grid"):
        tokenizer.decode(VisualTokens("codes", torch.zeros(1, 4, dtype=torch.int64)))


def test_a_config_of_another_tokenizer_is_refused() -> None:
    with pytest.raises(V2LError, match="--config vqgan"):
        VQGANTokenizer(Config(model=FOLDED))
    with pytest.raises(V2LError, match="a learned quantizer"):
        Config(model=replace(VQGAN_NETWORK, quantizer="words"))


def test_both_placements_of_beta_have_a_preset() -> None:
    vq_vae, legacy = load_config("vqgan").training, load_config("vqgan-paper").training
    assert vq_vae.commitment_weight == legacy.codebook_weight == 0.25
    assert (vq_vae.codebook_weight, legacy.commitment_weight) == (0.0, 1.0)  # averages need no codebook term


def test_the_papers_network_has_the_size_of_the_release() -> None:
    with torch.device("meta"):
        tokenizer = VQGANTokenizer(load_config("vqgan-paper"))
    parts = {
        name: sum(parameter.numel() for parameter in getattr(tokenizer, name).parameters())
        for name in ("encoder", "decoder", "quantizer", "quant_conv", "post_quant_conv")
    }
    assert tokenizer.factor == 16
    assert parts["quantizer"] == 1024 * 256
    assert len(tokenizer.encoder.down[4].attn) == 2
    assert len(tokenizer.decoder.up[4].attn) == 3
