"""The embedded encoder puts photographs near their names; a weights file fits its network or is refused."""

from __future__ import annotations

from collections import OrderedDict
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from v2l.encoders import JointEncoder, load_encoder
from v2l.encoders.conse import load_lite_weights
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.sources import find_images

LABELS = ["hat", "dress", "shoe", "pants"]  # of the sample photographs; their folder is called shoes


@pytest.fixture(scope="module")
def conse() -> JointEncoder:
    return load_encoder("conse", device="cpu")


@pytest.fixture(scope="module")
def photographs(samples: Path) -> dict[str, list[Tensor]]:
    """Label ──► photographs, each as large as it is."""
    return {
        label: [load_image(path) for path in find_images(samples / {"shoe": "shoes"}.get(label, label))]
        for label in LABELS
    }


@pytest.fixture(scope="module")
def vectors(conse: JointEncoder, photographs: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    return {
        label: torch.cat([conse.encode_images(image[None]) for image in images])
        for label, images in photographs.items()
    }


def small_network(width: int = 4) -> nn.Module:
    return nn.Sequential(
        OrderedDict(stem=nn.Conv2d(3, width, 3), norm=nn.BatchNorm2d(width), head=nn.Linear(width, 2))
    )


def saved_with_other_names(network: nn.Module, path: Path) -> Path:
    """The same tensors in the same order, as another package calls them."""
    torch.save(
        OrderedDict(
            (f"block.{place}.{name.rsplit('.', 1)[-1]}", t)
            for place, (name, t) in enumerate(network.state_dict().items())
        ),
        path,
    )
    return path


def test_weights_are_paired_by_their_place(tmp_path: Path) -> None:
    source, target = small_network(), small_network()
    load_lite_weights(target, saved_with_other_names(source, tmp_path / "weights.pth"))
    assert all(torch.equal(tensor, target.state_dict()[name]) for name, tensor in source.state_dict().items())


@pytest.mark.parametrize(
    "other", [small_network(width=5), small_network()[:2], nn.Sequential(small_network(), nn.Linear(2, 2))]
)
def test_weights_of_another_architecture_are_refused_and_change_nothing(
    other: nn.Module, tmp_path: Path
) -> None:
    target = small_network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(V2LError, match=r"^weights\.pth is not of the architecture Sequential"):
        load_lite_weights(target, saved_with_other_names(other, tmp_path / "weights.pth"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_tensors_of_one_shape_with_other_parts_of_a_name_are_refused(tmp_path: Path) -> None:
    target = small_network()
    swapped = OrderedDict(
        (name.replace("running_mean", "running_var"), tensor) for name, tensor in target.state_dict().items()
    )
    renamed = OrderedDict(
        (f"{place}.{name.rsplit('.', 1)[-1]}", tensor) for place, (name, tensor) in enumerate(swapped.items())
    )
    renamed[f"{len(renamed)}.running_mean"] = renamed.pop(next(iter(renamed)))
    torch.save(renamed, tmp_path / "weights.pth")
    with pytest.raises(V2LError, match="is not of the architecture"):
        load_lite_weights(target, tmp_path / "weights.pth")


@pytest.mark.parametrize("content", [b"", b"no weights", "truncated"])
def test_a_damaged_weights_file_is_one_line(content: bytes | str, tmp_path: Path) -> None:
    path = saved_with_other_names(small_network(), tmp_path / "weights.pth")
    path.write_bytes(path.read_bytes()[:-50] if content == "truncated" else content)
    with pytest.raises(V2LError, match="is damaged or no weights file; allowed: the file of its own package"):
        load_lite_weights(small_network(), path)


@pytest.mark.embedded
def test_a_name_is_nearest_to_its_own_photographs(conse: JointEncoder, vectors: dict[str, Tensor]) -> None:
    texts = conse.encode_texts([conse.templates[0].format(label) for label in LABELS])
    means = torch.stack(
        [(vectors[label] @ texts.T).mean(dim=0) for label in LABELS]
    )  # (photographs of, name)
    assert means.argmax(dim=0).tolist() == list(range(len(LABELS)))


@pytest.mark.embedded
def test_photographs_of_shoes_are_nearer_to_shoe_than_to_dress(
    conse: JointEncoder, vectors: dict[str, Tensor]
) -> None:
    shoe, dress = (
        vectors["shoe"].mean(dim=0) @ conse.encode_texts(["a photo of a shoe", "a photo of a dress"]).T
    )
    assert shoe > dress + 0.1


@pytest.mark.embedded
def test_photographs_of_one_kind_are_nearer_to_each_other(vectors: dict[str, Tensor]) -> None:
    centres = torch.stack([vectors[label].mean(dim=0) for label in LABELS])
    means = torch.stack([(vectors[label] @ centres.T).mean(dim=0) for label in LABELS])
    assert means.argmax(dim=1).tolist() == list(range(len(LABELS)))


@pytest.mark.embedded
def test_words_of_one_meaning_are_nearer_than_others(conse: JointEncoder) -> None:
    shoe, boot, banana = conse.encode_texts(["a photo of a shoe", "a photo of a boot", "a photo of a banana"])
    assert shoe @ boot > shoe @ banana


@pytest.mark.embedded
def test_classes_have_vectors_with_their_definitions(conse: JointEncoder) -> None:
    named, defined, mean = (
        load_encoder(name, device="cpu") for name in ("conse:none", "conse:with", "conse:mean")
    )
    assert torch.equal(named.class_vectors, conse.class_vectors)
    assert named.fingerprint == conse.fingerprint
    assert len({each.fingerprint for each in (named, defined, mean)}) == 3
    assert [each.name for each in (named, defined, mean)] == ["conse", "conse:with", "conse:mean"]
    expected = named.class_vectors + defined.class_vectors
    torch.testing.assert_close(mean.class_vectors, expected / expected.norm(dim=-1, keepdim=True))
    text = "a photo of a tench, freshwater dace-like game fish of Europe and western Asia noted for ability"
    beginning = conse.encode_texts([text])[0]
    assert defined.class_vectors[0] @ beginning > named.class_vectors[0] @ beginning


def test_an_unknown_kind_of_class_vectors_is_refused() -> None:
    with pytest.raises(
        V2LError, match="got the encoder 'conse:longer'; allowed: conse, conse:with, conse:mean"
    ):
        load_encoder("conse:longer", device="cpu")


@pytest.mark.embedded
def test_an_image_vector_is_the_weighted_mean_of_its_ten_likeliest_names(
    conse: JointEncoder, photographs: dict[str, list[Tensor]]
) -> None:
    image = conse.prepare(photographs["hat"][0])[None]
    mean, std = (
        torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1),
        torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1),
    )
    with torch.no_grad():
        chances = conse.classifier((image - mean) / std).softmax(dim=-1)[0]
    likeliest = chances.argsort(descending=True)[:10].tolist()
    mixed = sum(chances[place] * conse.class_vectors[place] for place in likeliest)
    torch.testing.assert_close(conse.encode_images(image)[0], mixed / mixed.norm(), atol=1e-5, rtol=0)


@pytest.mark.embedded
def test_vectors_have_unit_length_and_patches_a_grid(
    conse: JointEncoder, photographs: dict[str, list[Tensor]], vectors: dict[str, Tensor]
) -> None:
    patches = conse.encode_patches(photographs["hat"][0][None])
    assert patches.shape == (1, 9, 9, conse.dim)
    for found in (torch.cat(list(vectors.values())), patches, conse.encode_texts(["hat", ""])):
        torch.testing.assert_close(found.norm(dim=-1), torch.ones(found.shape[:-1]))


@pytest.mark.embedded
def test_a_larger_side_gives_more_patches_of_the_whole_image(conse: JointEncoder) -> None:
    image = torch.rand(1, 3, 40, 64)
    features = conse.patch_features(image, side=64)
    assert features.shape == (1, 2, 3, 1280)  # the last map has a position for 32 × 32 pixels
    torch.testing.assert_close(conse.to_joint_space(features), conse.encode_patches(image, side=64))


@pytest.mark.embedded
def test_features_of_another_device_are_moved_to_the_encoder(conse: JointEncoder) -> None:
    elsewhere = deepcopy(conse).to("meta")
    assert elsewhere.to_joint_space(torch.rand(2, 1280)).device.type == "meta"


@pytest.mark.embedded
def test_earlier_stages_stand_behind_the_last_map_and_are_finer(conse: JointEncoder) -> None:
    images = torch.rand(1, 3, 64, 96)
    levels = conse.feature_levels(images, side=64)
    assert [tuple(level.shape[1:]) for level in levels] == [(2, 3, 1280), (4, 6, 120), (8, 12, 48)]
    torch.testing.assert_close(levels[0], conse.patch_features(images, side=64))
    mean = levels[0].mean(dim=(1, 2)).clone().requires_grad_()
    conse.to_joint_space(mean).sum().backward()
    assert mean.grad is not None  # a region encoder is trained through it


@pytest.mark.embedded
def test_an_image_has_the_same_vector_alone_and_in_a_batch(
    conse: JointEncoder, photographs: dict[str, list[Tensor]]
) -> None:
    batch = torch.stack([conse.prepare(image) for images in photographs.values() for image in images[:2]])
    together = conse.encode_images(batch)
    assert torch.equal(conse.encode_images(batch), together)
    torch.testing.assert_close(
        torch.cat([conse.encode_images(image[None]) for image in batch]), together, atol=1e-4, rtol=0
    )


@pytest.mark.embedded
@pytest.mark.parametrize("size", [(1, 1), (260, 260), (64, 200)])
def test_every_size_is_read(size: tuple[int, int], conse: JointEncoder) -> None:
    vectors = conse.encode_images(torch.rand(2, 3, *size))
    assert vectors.isfinite().all()
    assert vectors.shape == (2, conse.dim)


@pytest.mark.embedded
def test_words_that_read_alike_have_one_vector(conse: JointEncoder) -> None:
    one, other, third = conse.tokenize_texts(["Hat", "hat", "hats"])
    assert one == other != third
    vectors = conse.encode_texts(["Hat", "hat"])
    torch.testing.assert_close(vectors[0], vectors[1])


@pytest.mark.embedded
def test_it_is_frozen_and_says_so_after_training_mode(conse: JointEncoder) -> None:
    nn.ModuleList([conse]).train()
    assert not any(part.training for part in conse.modules())
    assert not any(weight.requires_grad for weight in conse.parameters())


@pytest.mark.embedded
def test_its_fingerprint_is_of_its_weights_alone(conse: JointEncoder) -> None:
    assert load_encoder("conse", device="cpu").fingerprint == conse.fingerprint
    assert len(conse.fingerprint) == 16
