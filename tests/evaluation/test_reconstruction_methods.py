"""Contestants paint the same crops; what each may know and spend is fixed."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from tiny_pipeline import tiny_pipeline
from tiny_tokenizer import tiny_codebook

from v2l.config import Config, ModelConfig
from v2l.errors import V2LError
from v2l.evaluation.codecs import CODECS
from v2l.evaluation.reconstruction_methods import OWN, SHRUNK, SHUFFLED, WITHOUT, Crops, Painters
from v2l.images import Skipped, load_image, resize_and_crop
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.tokens import ImageTokens


@pytest.fixture(scope="module")
def painters() -> Painters:
    return Painters(tiny_pipeline().tokenizer, size=64)


@pytest.fixture(scope="module")
def crops(painters: Painters, samples: Path) -> Crops:
    return painters.read(sorted((samples / "hat").iterdir())[:3], Skipped())


def test_crops_are_of_8_bits_and_words_of_the_whole_photograph(
    painters: Painters, crops: Crops, samples: Path
) -> None:
    first = load_image(sorted((samples / "hat").iterdir())[0])
    assert torch.equal(crops.crops * 255, (crops.crops * 255).round())
    assert (crops.crops[0] - resize_and_crop(first, 64)).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal(crops.whole[0], painters.tokenizer.joint_encoder.prepare(first))


def test_unreadable_files_are_left_out_and_listed(painters: Painters, samples: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_text("no image")
    skipped = Skipped()
    crops = painters.read([tmp_path / "bad.jpg", next(iter((samples / "hat").iterdir()))], skipped)
    assert len(crops.files) == len(crops.crops) == len(skipped) == 1
    assert painters.read([tmp_path / "bad.jpg"], Skipped()).files == []


def test_the_shuffled_row_has_its_own_cells_and_the_words_of_the_one_before(
    painters: Painters, crops: Crops
) -> None:
    before = torch.tensor([0, 1, 2, 3])
    painting = painters.paint(crops, before)
    tokenizer = painters.tokenizer
    words = tokenizer.global_tokens(crops.whole)[1]
    cells = tokenizer.encode_local(crops.crops)
    own, others = (
        tokenizer.decode(ImageTokens(ids, cells))
        for ids in (words, torch.stack([before, words[0], words[1]]))
    )
    assert torch.equal(painting.global_ids, words)
    assert torch.allclose(painting.rows[OWN].images, own, atol=0.51 / 255)
    assert torch.allclose(painting.rows[SHUFFLED].images, others, atol=0.51 / 255)


def test_codecs_get_no_fewer_bytes_than_the_tokens_cost(painters: Painters, crops: Crops) -> None:
    codebooks = painters.tokenizer.local_codebook, painters.tokenizer.global_codebook
    bits = 64 * math.log2(len(codebooks[0])) + 4 * math.log2(len(codebooks[1]))
    assert painters.cost.total == pytest.approx(bits / 8)
    painting = painters.paint(crops, torch.zeros(4, dtype=torch.int64))
    assert painting.rows[OWN].sizes == [painters.cost.total] * 3
    assert all(size >= painters.cost.total for codec in CODECS for size in painting.rows[codec].sizes)
    assert painting.rows[SHRUNK].sizes == [3 * 8 * 8] * 3


def test_the_rows_of_the_codebook_are_those_of_the_tokens(painters: Painters, crops: Crops) -> None:
    painting = painters.paint(crops, torch.zeros(4, dtype=torch.int64))
    assert torch.equal(
        painters.tokenizer.local_codebook.token_ids[painting.local_rows],
        painters.tokenizer.encode_local(crops.crops),
    )


@pytest.mark.parametrize("size", [60, 24])
def test_crops_must_fit_the_grid_and_the_judges(size: int) -> None:
    with pytest.raises(V2LError, match="--size 64"):
        Painters(tiny_pipeline().tokenizer, size=size)


def test_without_words_means_trained_without_words(painters: Painters, crops: Crops) -> None:
    with pytest.raises(V2LError, match="cross_attention: false"):
        Painters(painters.tokenizer, painters.tokenizer, size=64)
    network = ModelConfig(
        image_size=64,
        cross_attention=False,
        stem=4,
        resampling="shuffle",
        level_channels=(32, 32),
        z_channels=8,
        lookup_dim=6,
    )
    blind = V2LTokenizer(Config(model=network), tiny_codebook(), tiny_codebook(30, orders=3)).eval()
    painting = Painters(painters.tokenizer, blind, size=64).paint(crops, torch.zeros(4, dtype=torch.int64))
    assert painting.rows[WITHOUT].images.shape == crops.crops.shape
    assert not torch.equal(painting.rows[WITHOUT].images, painting.rows[OWN].images)
