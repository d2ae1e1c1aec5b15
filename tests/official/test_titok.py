"""A checkpoint in the released layout gives the codes and images of a plain reading of the paper."""

from __future__ import annotations

from pathlib import Path

import plain_titok
import pytest
import torch
from tiny_titok import RELEASED, released_weights
from torch import Tensor

from v2l.checkpoint import save_tensors
from v2l.errors import V2LError
from v2l.official.titok import convert_titok
from v2l.tokenizers.latents.model import TiTokTokenizer
from v2l.tokenizers.loading import load_tokenizer


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    return released_weights()


@pytest.fixture(scope="module")
def converted(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> TiTokTokenizer:
    folder = tmp_path_factory.mktemp("titok")
    torch.save(weights, folder / "tokenizer_titok.bin")
    convert_titok(folder / "tokenizer_titok.bin", folder / "model")
    loaded = load_tokenizer(folder / "model", device="cpu")
    assert isinstance(loaded, TiTokTokenizer)
    return loaded


def test_the_sizes_follow_from_the_shapes(converted: TiTokTokenizer) -> None:
    assert converted.network_settings == RELEASED


def test_codes_and_images_are_those_of_the_plain_reading(
    weights: dict[str, Tensor], converted: TiTokTokenizer
) -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    tokens = converted.encode(images)
    decoded = converted.decode(tokens)
    assert tokens.ids is not None
    for image, ids, picture in zip(images, tokens.ids, decoded, strict=True):
        plain_ids, entries = plain_titok.codes(weights, image)
        assert torch.equal(ids, plain_ids)
        assert torch.allclose(picture, plain_titok.decoded(weights, entries).clamp(0, 1), atol=1e-4)


def test_the_legacy_view_changes_the_codes(weights: dict[str, Tensor], converted: TiTokTokenizer) -> None:
    encoder, latents = converted.network.encoder, torch.randn(1, 6, 128)
    legacy = encoder.code(latents)
    transposed = super(type(encoder), encoder).code(latents)
    assert legacy.shape == transposed.shape
    assert not torch.allclose(legacy, transposed, atol=1e-2)


def test_safetensors_are_read_too(weights: dict[str, Tensor], tmp_path: Path) -> None:
    save_tensors(tmp_path / "model.safetensors", weights)
    convert_titok(tmp_path / "model.safetensors", tmp_path / "model")
    assert (tmp_path / "model" / "manifest.json").is_file()


def test_a_model_without_a_pixel_decoder_is_refused(weights: dict[str, Tensor], tmp_path: Path) -> None:
    vae = {name: tensor for name, tensor in weights.items() if not name.startswith("pixel")}
    torch.save(vae, tmp_path / "vae.bin")
    with pytest.raises(V2LError, match=r"pixel_quantize.*L-32, B-64 or S-128"):
        convert_titok(tmp_path / "vae.bin", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_weight_of_another_shape_is_named(weights: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(weights | {"decoder.mask_token": torch.zeros(1, 1, 4)}, tmp_path / "odd.bin")
    with pytest.raises(V2LError, match=r"misshapen.*mask_token"):
        convert_titok(tmp_path / "odd.bin", tmp_path / "model")
