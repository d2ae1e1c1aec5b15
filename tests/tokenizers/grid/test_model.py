"""V2LTokenizer: images to tokens and back, and a checkpoint that is loaded whole or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_tokenizer import NETWORK, SOURCE, tiny_codebook, tiny_tokenizer
from torch import Tensor

from v2l.checkpoint import file_hash
from v2l.config import Config
from v2l.errors import V2LError
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.tokenizers.module_weights import load_strictly
from v2l.tokens import ImageTokens


class Words:
    """A joint encoder of one vector: what `encode` needs of one."""

    fingerprint, name, device = SOURCE.encoder_fingerprint, "tiny", torch.device("cpu")

    def encode_images(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(
            images.mean(dim=(2, 3)) @ torch.ones(3, 16) + torch.arange(16.0), dim=-1
        )


@pytest.fixture
def model() -> V2LTokenizer:
    tokenizer = tiny_tokenizer()
    tokenizer.use_joint_encoder(Words())
    return tokenizer


def test_an_image_becomes_words_of_both_codebooks(model: V2LTokenizer) -> None:
    tokens = model.encode(torch.rand(2, 3, 50, 70))
    assert tokens.local_ids.shape == (2, 4, 4)
    assert set(tokens.local_ids.flatten().tolist()) <= set(model.local_codebook.token_ids.tolist())
    assert tokens.global_ids.shape == (2, 3)
    words = [model.global_codebook.entries[row].word for row in tokens.global_ids[1].tolist()]
    assert [word.word for word in tokens.words[1]] == words
    assert [word.score for word in tokens.words[1]] == sorted(
        (word.score for word in tokens.words[1]), reverse=True
    )


def test_one_image_and_a_batch_give_the_same_tokens(model: V2LTokenizer) -> None:
    images = torch.rand(3, 3, 32, 32)
    together = model.encode(images)
    for index in range(3):
        alone = model.encode(images[index : index + 1])
        assert torch.equal(alone.local_ids, together[index].local_ids)
        assert torch.equal(alone.global_ids, together[index].global_ids)


def test_without_cropping_every_cell_of_a_wide_image_becomes_a_token(model: V2LTokenizer) -> None:
    tokens = model.encode(torch.rand(1, 3, 16, 48), crop=False)
    assert tokens.local_ids.shape == (1, 2, 6)
    assert model.decode(tokens).shape == (1, 3, 16, 48)


def test_decoding_equals_the_networks_own_pass(model: V2LTokenizer) -> None:
    images = torch.rand(1, 3, 32, 32)
    tokens = model.encode(images)
    with torch.no_grad():
        decoded = model(images * 2 - 1, tokens.global_ids).images
    assert torch.allclose(model.decode(tokens), ((decoded + 1) / 2).clamp(0, 1), atol=1e-5)


def test_sides_that_are_no_multiple_of_f_are_refused(model: V2LTokenizer) -> None:
    with pytest.raises(V2LError, match=r"30 × 32.*multiples of 8"):
        model.encode(torch.rand(1, 3, 32, 30), crop=False)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 1, 32, 32)])
def test_shapes_that_are_no_batch_of_rgb_images_are_refused(
    model: V2LTokenizer, shape: tuple[int, ...]
) -> None:
    with pytest.raises(V2LError, match="float32"):
        model.encode(torch.rand(shape))


def test_ids_outside_the_codebooks_are_refused(model: V2LTokenizer) -> None:
    tokens = model.encode(torch.rand(1, 3, 32, 32))
    with pytest.raises(V2LError, match="local id 7,"):
        model.decode(tokens.with_local_ids(torch.full((1, 4, 4), 7)))
    with pytest.raises(V2LError, match="global id"):
        model.decode(ImageTokens(torch.full((1, 3), 30), tokens.local_ids))


def test_features_of_unit_length_stay_finite_at_zero() -> None:
    model = tiny_tokenizer(NETWORK)
    for parameter in model.quant_conv.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.isfinite(model(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, dtype=torch.int64)).images).all()


def test_codebooks_of_different_builds_are_refused() -> None:
    with pytest.raises(V2LError, match="two codebooks of one build"):
        V2LTokenizer(
            Config(), tiny_codebook(), tiny_codebook(source=replace(SOURCE, llm_fingerprint="another"))
        )


def test_another_encoder_is_refused_with_both_fingerprints(model: V2LTokenizer) -> None:
    other = Words()
    other.fingerprint = "something else"
    with pytest.raises(V2LError, match=r"something else.*encoder-fingerprint"):
        model.use_joint_encoder(other)


def test_a_checkpoint_gives_the_same_tokens_back(model: V2LTokenizer, tmp_path: Path) -> None:
    model.facts = {"steps": 5}
    model.save_pretrained(tmp_path / "checkpoint")
    again = V2LTokenizer.from_pretrained(tmp_path / "checkpoint", device="cpu")
    again.use_joint_encoder(Words())
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(again.encode(images).local_ids, model.encode(images).local_ids)
    assert (again.facts, again.config, again.training) == ({"steps": 5}, model.config, False)


def test_half_precision_halves_the_file_and_hardly_changes_the_picture(
    model: V2LTokenizer, tmp_path: Path
) -> None:
    for half in (False, True):
        model.save_pretrained(tmp_path / str(half), half=half)
    whole, halved = ((tmp_path / str(half) / "model.safetensors").stat().st_size for half in (False, True))
    assert halved < 0.6 * whole
    tokens = model.encode(torch.rand(1, 3, 32, 32))
    assert torch.allclose(
        V2LTokenizer.from_pretrained(tmp_path / "True", "cpu").decode(tokens), model.decode(tokens), atol=1e-2
    )


def test_a_damaged_checkpoint_is_refused(model: V2LTokenizer, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "checkpoint")
    weights = tmp_path / "checkpoint" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(V2LError, match=r"model\.safetensors"):
        V2LTokenizer.from_pretrained(tmp_path / "checkpoint")
    with pytest.raises(V2LError, match="no checkpoint"):
        V2LTokenizer.from_pretrained(tmp_path / "nothing")


def test_weights_that_do_not_fit_are_named_by_kind(model: V2LTokenizer, tmp_path: Path) -> None:
    weights = dict(model.state_dict())
    weights["extra"] = weights.pop("quant_conv.bias")
    weights["post_quant_conv.bias"] = torch.zeros(3)
    weights["encoder.conv_in.bias"] = torch.full_like(weights["encoder.conv_in.bias"], torch.nan)
    with pytest.raises(V2LError) as error:
        load_strictly(model, weights, tmp_path)
    for part in (
        "1 missing (quant_conv.bias)",
        "1 unexpected (extra)",
        "1 misshapen (post_quant_conv.bias)",
        "1 not finite (encoder.conv_in.bias)",
    ):
        assert part in str(error.value)


def test_saving_leaves_no_half_written_checkpoint(
    model: V2LTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "checkpoint"
    model.save_pretrained(target)
    before = file_hash(target / "model.safetensors")

    saved: list[Path] = []

    def full_from_the_second_file_on(tensors: dict[str, Tensor], path: Path) -> None:
        saved.append(path)
        if len(saved) > 1:
            raise OSError(28, "No space left on device")
        save_file(tensors, path)

    monkeypatch.setattr("v2l.checkpoint.save_file", full_from_the_second_file_on)
    with pytest.raises(V2LError, match="No space left"):
        model.save_pretrained(target)
    assert file_hash(target / "model.safetensors") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]


def test_weights_are_safetensors_only(model: V2LTokenizer, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "checkpoint")
    assert {path.suffix for path in (tmp_path / "checkpoint").rglob("*") if path.is_file()} == {
        ".json",
        ".jsonl",
        ".md",
        ".safetensors",
    }
