"""Perceptual distances: repeatable while training, finite at equal images, and called by their own name."""

from __future__ import annotations

from pathlib import Path

import lpips
import pytest
import torch

from v2l.errors import V2LError
from v2l.images import load_image, resize_and_crop
from v2l.perceptual import (
    LITE,
    TRUNKS,
    LiteDistance,
    LiteFeatures,
    LPIPSDistance,
    PerceptualDistance,
    ReleasedRange,
    backbone_path,
    load_perceptual,
    report_network,
)


@pytest.fixture(
    scope="module", params=["lpips", *(pytest.param(name, marks=pytest.mark.embedded) for name in LITE)]
)
def distance(request: pytest.FixtureRequest) -> PerceptualDistance:
    torch.manual_seed(0)
    if request.param in LITE:
        return LiteDistance(request.param)
    return LPIPSDistance(lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False), "lpips-squeeze")


def test_it_is_bit_equal_twice_even_when_a_parent_trains(distance: PerceptualDistance) -> None:
    torch.nn.Sequential(distance).train()
    images, decoded = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1
    assert torch.equal(distance(decoded, images), distance(decoded, images))
    assert distance(decoded, images).shape == (2,)


def test_equal_images_have_no_distance_and_a_finite_gradient(distance: PerceptualDistance) -> None:
    images = torch.zeros(1, 3, 64, 64)  # flat images have features of length 0
    decoded = images.clone().requires_grad_()
    value = distance(decoded, images)
    value.sum().backward()
    assert value.item() == 0
    assert torch.isfinite(decoded.grad).all()


def test_images_outside_the_range_are_refused(distance: PerceptualDistance) -> None:
    with pytest.raises(ValueError, match=r"\[-1, 1\]"):
        distance(torch.zeros(1, 3, 64, 64), torch.full((1, 3, 64, 64), 1.5))


def test_its_weights_are_frozen(distance: PerceptualDistance) -> None:
    assert not any(parameter.requires_grad for parameter in distance.parameters())


def test_ours_equals_the_lpips_package_where_the_root_is_not_at_zero() -> None:
    torch.manual_seed(0)
    network = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    images, decoded = torch.rand(2, 3, 64, 64) * 2 - 1, torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(
            LPIPSDistance(network, "lpips-squeeze")(decoded, images),
            network(decoded, images).flatten(),
            rtol=1e-4,
        )


@pytest.mark.embedded
@pytest.mark.parametrize("name", LITE)
def test_a_blurred_photograph_is_nearer_than_another_one(name: str, samples: Path) -> None:
    distance = load_perceptual(name, torch.device("cpu"))
    assert distance.name == name
    boots, hat = (
        resize_and_crop(load_image(next(iter(sorted((samples / name).iterdir())))), 128)[None] * 2 - 1
        for name in ("shoes", "hat")
    )
    blurred = torch.nn.functional.avg_pool2d(boots, 3, 1, 1)
    assert distance(blurred, boots).item() < distance(hat, boots).item()


def test_a_missing_backbone_is_one_line_with_the_file_to_bring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(V2LError, match=r"vgg16-397923af\.pth"):
        load_perceptual("lpips-vgg", torch.device("cpu"))


def test_unknown_names_are_refused_and_none_is_none() -> None:
    assert load_perceptual("none", torch.device("cpu")) is None
    with pytest.raises(V2LError, match=", ".join(TRUNKS)):
        load_perceptual("vgg", torch.device("cpu"))


@pytest.mark.embedded
def test_features_of_a_photograph_are_those_that_the_classifier_reads(samples: Path) -> None:
    features = LiteFeatures()
    described = features(load_image(samples / "hat" / "straw.jpg")[None])
    assert described.shape == (1, features.num_features)
    # In training mode and in any batch the same features; the last bit depends on the processor.
    batch, alone = features.train()(torch.zeros(2, 3, 32, 32)), features(torch.zeros(1, 3, 32, 32))
    torch.testing.assert_close(batch[:1], alone, atol=1e-5, rtol=1e-5)


def test_the_released_range_is_the_same_network_on_stretched_images() -> None:
    torch.manual_seed(0)
    distance = LPIPSDistance(lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False), "lpips-squeeze")
    images, others = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    released = ReleasedRange(distance)
    assert released.name == "lpips-squeeze, range as released"
    expected = distance.network(others * 2 - 1, images * 2 - 1).flatten()
    assert torch.allclose(released(others, images), expected, atol=1e-6)
    assert not torch.allclose(distance(others, images), expected, rtol=0.01)


def test_reports_use_lpips_when_it_is_here_and_never_the_network_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert report_network("efficientnet-lite0") == "efficientnet-lite2"
    for name in ("lpips-vgg", "lpips-alex"):
        backbone_path(name).parent.mkdir(exist_ok=True)
        backbone_path(name).touch()
    assert report_network("lpips-vgg") == "lpips-alex"
    assert report_network("lpips-alex") == "lpips-vgg"
