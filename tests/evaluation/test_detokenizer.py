"""The evaluation of a detokenizer: as many tokens for every method, and an untrained one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_namer import tiny_namer
from torch import Tensor

from v2l.errors import V2LError
from v2l.evaluation import detokenizer as evaluation
from v2l.evaluation.detokenizer import COLOUR, DRAFT, METHODS, OWN, evaluate_detokenizer, page
from v2l.evaluation.reconstruction import PSNR_OF_EQUAL_IMAGES
from v2l.images import save_image
from v2l.perceptual import PerceptualDistance
from v2l.sources import find_images
from v2l.tokenizers.clusters.model import ClusterTokenizer
from v2l.tokenizers.clusters.settings import ClusterSettings, NetworkSettings, TrainedSettings

SETTINGS = ClusterSettings(side=64, neighbours=4, threshold=0.3, if_none=1, position_weight=0.0)
NETWORK = NetworkSettings(
    width=16,
    heads=2,
    token_width=8,
    mapper_layers=2,
    decoder_blocks=1,
    cells=4,
    image_size=16,
    colour_terms=2,
)


class PixelDistance(PerceptualDistance):
    """The squared error of the colours, at unit length."""

    name = "pixels"

    def features(self, images: Tensor) -> list[Tensor]:
        return [images]

    def weigh(self, level: int, difference: Tensor) -> Tensor:
        return difference.mean(dim=(1, 2, 3))


def test_each_method_has_figures_with_intervals(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "load_perceptual", lambda name, device: PixelDistance())
    torch.manual_seed(0)
    tokenizer = ClusterTokenizer(SETTINGS, tiny_namer(), TrainedSettings(NETWORK, 48, 16)).eval()
    files = find_images(samples)[:3]
    found = evaluate_detokenizer(tokenizer, files)
    assert set(found["figures"]) == set(METHODS)
    assert found["figures"][OWN] == found["figures"][DRAFT]  # before training
    assert found["n"] == 3
    own, others = found["figures"]["clusters, merged"], found["clusters_minus"]
    for name, differences in others.items():
        expected = own["distance"]["value"] - found["figures"][name]["distance"]["value"]
        assert differences["distance"]["value"] == pytest.approx(expected, abs=1e-6)
    assert "mean colour" in page(found)


def test_a_flat_picture_is_measured_too(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "load_perceptual", lambda name, device: PixelDistance())
    torch.manual_seed(0)
    tokenizer = ClusterTokenizer(SETTINGS, tiny_namer(), TrainedSettings(NETWORK, 48, 16)).eval()
    save_image(torch.zeros(3, 64, 64), tmp_path / "flat.png")
    found = evaluate_detokenizer(tokenizer, [*find_images(samples)[:1], tmp_path / "flat.png"])
    assert found["figures"][COLOUR]["psnr"]["interval"][1] > PSNR_OF_EQUAL_IMAGES  # of one equal image
    assert COLOUR in page(found)


def test_an_untrained_one_is_refused(samples: Path) -> None:
    files = find_images(samples)[:3]
    with pytest.raises(V2LError, match="'setok' has no trained detokenizer"):
        evaluate_detokenizer(ClusterTokenizer(SETTINGS, tiny_namer()), files)
