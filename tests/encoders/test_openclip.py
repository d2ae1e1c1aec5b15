"""Any open_clip model: frozen, unit vectors that depend on nothing but image or text, and an own
fingerprint."""

from __future__ import annotations

import json
import logging
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_encoder import tiny_encoder, write_tiny_clip
from torch import Tensor
from torch.nn import functional

from v2l.encoders import JointEncoder, load_encoder, openclip
from v2l.encoders.base import fingerprint_of
from v2l.encoders.openclip import OpenCLIP
from v2l.errors import V2LError

TEXTS = ["a photo of a hat", "dress", "Shoes!", ""]


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(8, 3, 40, 56, generator=torch.Generator().manual_seed(1))


def lengths(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors, dim=-1)


def test_it_comes_by_its_name_and_keeps_it(encoder: JointEncoder) -> None:
    assert isinstance(encoder, OpenCLIP)
    assert encoder.name.startswith("openclip:local-dir:")
    assert load_encoder(encoder.name, device="cpu").fingerprint == encoder.fingerprint
    assert (encoder.dim, encoder.image_size, encoder.device) == (16, 32, torch.device("cpu"))


def test_its_templates_are_clips_eighty_sentences(encoder: JointEncoder) -> None:
    assert len(encoder.templates) == 80
    assert all(template.count("{}") == 1 for template in encoder.templates)


def test_image_vectors_are_float32_of_unit_length(encoder: JointEncoder, images: Tensor) -> None:
    vectors = encoder.encode_images(images)
    assert vectors.shape == (8, encoder.dim)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(lengths(vectors), torch.ones(8))


def test_an_image_has_the_same_vector_alone_and_in_a_batch(encoder: JointEncoder, images: Tensor) -> None:
    together = encoder.encode_images(images)
    assert torch.equal(encoder.encode_images(images), together)
    torch.testing.assert_close(
        torch.cat([encoder.encode_images(image[None]) for image in images]), together, atol=1e-5, rtol=0
    )


def test_other_images_have_other_vectors(encoder: JointEncoder, images: Tensor) -> None:
    assert (encoder.encode_images(images[:1]) - encoder.encode_images(images[1:2])).abs().max() > 1e-3


@pytest.mark.parametrize("size", [(1, 1), (7, 90), (32, 32), (33, 31), (300, 20)])
def test_every_size_is_read(size: tuple[int, int], encoder: JointEncoder) -> None:
    image = torch.rand(1, 3, *size)
    prepared = encoder.prepare(image[0])
    assert prepared.shape == (3, 32, 32)
    assert 0 <= prepared.min() <= prepared.max() <= 1
    torch.testing.assert_close(lengths(encoder.encode_images(image)), torch.ones(1))


def test_a_prepared_image_has_the_vector_of_the_image(encoder: JointEncoder, images: Tensor) -> None:
    prepared = torch.stack([encoder.prepare(image) for image in images])
    torch.testing.assert_close(encoder.encode_images(prepared), encoder.encode_images(images))


def test_images_are_normalized_as_the_model_expects(encoder: JointEncoder, images: Tensor) -> None:
    mean, std = (torch.tensor(encoder.preprocess[key]).view(3, 1, 1) for key in ("mean", "std"))
    prepared = encoder.prepare_batch(images)
    with torch.no_grad():
        expected = functional.normalize(encoder.model.encode_image((prepared - mean) / std), dim=-1)
    torch.testing.assert_close(encoder.encode_images(images), expected)


def test_patches_are_the_projected_last_features_in_raster_order(
    encoder: JointEncoder, images: Tensor
) -> None:
    patches = encoder.encode_patches(images)
    assert patches.shape == (8, 4, 4, encoder.dim)  # 32 px in patches of 8
    torch.testing.assert_close(lengths(patches), torch.ones(8, 4, 4))
    visual = encoder.model.visual
    last: list[Tensor] = []
    hook = visual.transformer.register_forward_hook(lambda module, inputs, output: last.append(output))
    encoder.encode_images(images)
    hook.remove()
    with torch.inference_mode():
        expected = functional.normalize(
            visual.ln_post(last[0][:, 1:]) @ visual.proj, dim=-1
        )  # without the class token
    torch.testing.assert_close(patches.flatten(1, 2), expected, atol=1e-5, rtol=0)


def test_a_larger_side_gives_more_patches_of_the_whole_image(encoder: JointEncoder) -> None:
    images = torch.rand(2, 3, 40, 80)
    before = encoder.model.visual.positional_embedding.clone()
    patches = encoder.encode_patches(images, side=64)
    assert patches.shape == (2, 8, 16, encoder.dim)  # patches of 8 pixels
    torch.testing.assert_close(lengths(patches), torch.ones(2, 8, 16))
    assert torch.equal(encoder.model.visual.positional_embedding, before)
    square = torch.rand(2, 3, 32, 32)  # at the trained size the whole image is the square
    assert torch.equal(encoder.encode_patches(square, side=32), encoder.encode_patches(square))


def test_a_region_is_the_mean_of_its_features_in_the_joint_space(encoder: JointEncoder) -> None:
    features = encoder.patch_features(torch.rand(1, 3, 40, 40), side=32)
    region = features[0, :2, :2].mean(dim=(0, 1))
    expected = functional.normalize(region @ encoder.model.visual.proj, dim=-1)
    torch.testing.assert_close(encoder.to_joint_space(region), expected)


def test_features_of_another_device_are_moved_to_the_encoder(encoder: JointEncoder) -> None:
    features = encoder.patch_features(torch.rand(1, 3, 32, 32))
    elsewhere = deepcopy(encoder).to("meta")
    assert elsewhere.to_joint_space(features).device.type == "meta"


def test_text_vectors_are_float32_of_unit_length_whatever_the_batch(encoder: JointEncoder) -> None:
    vectors = encoder.encode_texts(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dim)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(lengths(vectors), torch.ones(len(TEXTS)))
    torch.testing.assert_close(encoder.encode_texts(TEXTS, batch_size=1), vectors, atol=1e-5, rtol=0)


def test_texts_that_read_alike_have_one_vector(encoder: JointEncoder) -> None:
    lower, upper, other = encoder.tokenize_texts(["fire truck", " Fire  TRUCK ", "fire"])
    assert lower == upper != other
    vectors = encoder.encode_texts(["fire truck", " Fire  TRUCK "])
    assert torch.equal(vectors[0], vectors[1])


@pytest.mark.parametrize(("one", "other"), [("!=", "="), ("!(", "("), ("", "!")])
def test_texts_that_differ_by_an_exclamation_mark_read_differently(
    one: str, other: str, encoder: JointEncoder
) -> None:
    readings = encoder.tokenize_texts([one, other])
    assert readings[0] != readings[1]


class PaddedWithOne:
    """As open_clip wraps a tokenizer of Hugging Face whose padding has the id 1."""

    tokenizer = SimpleNamespace(pad_token_id=1)

    def __call__(self, texts: list[str]) -> Tensor:
        rows = [[ord(letter) for letter in text][:8] for text in texts]
        return torch.tensor([row + [1] * (8 - len(row)) for row in rows])


def test_padding_is_what_the_tokenizer_pads_with(
    encoder: JointEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "tokenizer", PaddedWithOne())
    assert encoder.tokenize_texts(["\0a\0", "whole row"]) == [(0, 97, 0), tuple(b"whole ro")]


def test_it_is_frozen_and_stays_in_evaluation_mode(encoder: JointEncoder, images: Tensor) -> None:
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    parent = torch.nn.ModuleList([encoder]).train()
    assert parent.training
    assert not any(part.training for part in encoder.modules())
    assert not any(weight.requires_grad for weight in encoder.parameters())
    encoder.encode_images(images), encoder.encode_patches(images), encoder.encode_texts(TEXTS)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


def test_other_weights_have_another_fingerprint(encoder: JointEncoder, tmp_path: Path) -> None:
    assert tiny_encoder(tmp_path / "seed-1", seed=1).fingerprint != encoder.fingerprint
    assert tiny_encoder(tmp_path / "seed-0").fingerprint == encoder.fingerprint


def test_the_same_weights_with_quickgelu_are_another_encoder(
    encoder: JointEncoder, images: Tensor, tmp_path: Path
) -> None:
    quick = tiny_encoder(tmp_path / "quick", quick_gelu=True)
    assert all(torch.equal(tensor, encoder.state_dict()[name]) for name, tensor in quick.state_dict().items())
    assert quick.fingerprint != encoder.fingerprint
    assert (quick.encode_images(images) - encoder.encode_images(images)).abs().max() > 1e-5


def test_other_preprocessing_has_another_fingerprint(encoder: JointEncoder, tmp_path: Path) -> None:
    name = write_tiny_clip(tmp_path / "pale")
    path = tmp_path / "pale" / "open_clip_config.json"
    description = json.loads(path.read_text(encoding="utf-8")) | {"preprocess_cfg": {"mean": [0.5, 0.5, 0.5]}}
    path.write_text(json.dumps(description), encoding="utf-8")
    assert load_encoder(name, device="cpu").fingerprint != encoder.fingerprint


def test_a_fingerprint_is_of_every_byte_name_and_fact() -> None:
    state = {"a": torch.arange(4.0), "b": torch.zeros(2, 2)}
    plain = fingerprint_of(state, "gelu")
    assert fingerprint_of(dict(reversed(state.items())), "gelu") == plain
    others = [
        fingerprint_of(state, "quick gelu"),
        fingerprint_of({**state, "a": torch.arange(4.0) + 1e-6}, "gelu"),
        fingerprint_of({**state, "b": torch.zeros(4)}, "gelu"),
        fingerprint_of({"a": state["a"], "c": state["b"]}, "gelu"),
        fingerprint_of({**state, "a": state["a"].double()}, "gelu"),
    ]
    assert len({plain, *others}) == 6


@pytest.mark.parametrize(("tag", "quick"), [("openai", True), ("laion2b_s32b_b82k", False)])
def test_the_tag_says_which_gelu_its_weights_want(tag: str, quick: bool) -> None:
    assert openclip._quick_gelu_of_tag("ViT-L-14", tag) is quick


def test_weights_come_from_a_local_file_too(
    encoder: JointEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny_clip(tmp_path / "tiny")
    architecture = json.loads((tmp_path / "tiny" / "open_clip_config.json").read_text(encoding="utf-8"))[
        "model_cfg"
    ]
    monkeypatch.setitem(openclip.open_clip.factory._MODEL_CONFIGS, "tiny", architecture)
    weights = tmp_path / "tiny" / "open_clip_model.safetensors"
    assert load_encoder(f"openclip:tiny@{weights}", device="cpu").fingerprint == encoder.fingerprint


def test_a_folder_may_have_an_at_sign_in_its_name(encoder: JointEncoder, tmp_path: Path) -> None:
    assert tiny_encoder(tmp_path / "me@home").fingerprint == encoder.fingerprint


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("clip", "got encoder 'clip'; allowed: conse, conse:mean, conse:with, openclip:"),
        ("", "got encoder ''; allowed: conse, conse:mean, conse:with, openclip:"),
        ("openclip:", "got open_clip model ''"),
        ("openclip:ViT-L-14", "with tag ''; allowed: one of openai, "),
        ("openclip:ViT-L-14/opnai", "with tag 'opnai'; allowed: one of openai, "),
        ("openclip:NoSuchModel/openai", "got open_clip model 'NoSuchModel'"),
        ("openclip:ViT-L-14/openai", "the encoder 'openclip:ViT-L-14/openai' cannot be loaded"),
        ("openclip:hf-hub:nobody/no-such-model", "v2l is offline"),
        ("openclip:local-dir:/no/such/folder", "not found: /no/such/folder"),
        ("openclip:ViT-B-32@/no/such/file", "got the weights file '/no/such/file', which does not exist"),
    ],
)
def test_what_is_not_to_be_had_is_one_line(
    name: str, line: str, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(V2LError) as refused:
        load_encoder(name, device="cpu")
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not caplog.records  # open_clip's own lines are held back
    assert logging.root.manager.disable == logging.NOTSET


def test_a_folder_without_weights_is_refused_not_filled_with_chance(tmp_path: Path) -> None:
    name = write_tiny_clip(tmp_path / "hollow", weights=False)
    with pytest.raises(V2LError, match="cannot be loaded"):
        load_encoder(name, device="cpu")


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    name = write_tiny_clip(tmp_path / "cut")
    weights = tmp_path / "cut" / "open_clip_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(V2LError, match="cannot be loaded"):
        load_encoder(name, device="cpu")


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    name = write_tiny_clip(tmp_path / "wide")
    weights = tmp_path / "wide" / "open_clip_model.safetensors"
    state = load_file(weights)
    save_file(state | {"visual.proj": torch.zeros(16, 8)}, weights)
    with pytest.raises(V2LError, match="cannot be loaded"):
        load_encoder(name, device="cpu")


def test_an_image_half_without_patches_is_refused_for_them_only(
    encoder: JointEncoder, images: Tensor, tmp_path: Path
) -> None:
    other = tiny_encoder(tmp_path / "no-projection")
    other.model.visual.proj = None
    with pytest.raises(V2LError, match="has no features of patches; allowed: conse, or a ViT"):
        other.encode_patches(images)
