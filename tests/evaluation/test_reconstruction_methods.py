"""All methods reconstruct the same crops, each with fixed knowledge and a fixed number of bytes."""

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
from v2l.evaluation.reconstruction_methods import OWN, SHRUNK, SHUFFLED, WITHOUT, Crops, ReconstructionMethods
from v2l.images import Skipped, load_image, resize_and_crop
from v2l.tokenizers.grid.model import V2LTokenizer
from v2l.tokens import ImageTokens


@pytest.fixture(scope="module")
def methods() -> ReconstructionMethods:
    return ReconstructionMethods(tiny_pipeline().tokenizer, size=64)


@pytest.fixture(scope="module")
def crops(methods: ReconstructionMethods, samples: Path) -> Crops:
    return methods.read(sorted((samples / "hat").iterdir())[:3], Skipped())


def test_crops_are_of_8_bits_and_words_of_the_whole_photograph(
    methods: ReconstructionMethods, crops: Crops, samples: Path
) -> None:
    first = load_image(sorted((samples / "hat").iterdir())[0])
    assert torch.equal(crops.crops * 255, (crops.crops * 255).round())
    assert (crops.crops[0] - resize_and_crop(first, 64)).abs().max() <= 0.5 / 255 + 1e-6
    assert torch.equal(crops.whole[0], methods.tokenizer.joint_encoder.prepare(first))


def test_unreadable_files_are_left_out_and_listed(
    methods: ReconstructionMethods, samples: Path, tmp_path: Path
) -> None:
    (tmp_path / "bad.jpg").write_text("no image")
    skipped = Skipped()
    crops = methods.read([tmp_path / "bad.jpg", next(iter((samples / "hat").iterdir()))], skipped)
    assert len(crops.files) == len(crops.crops) == len(skipped) == 1
    assert methods.read([tmp_path / "bad.jpg"], Skipped()).files == []


def test_the_shuffled_row_has_its_own_cells_and_the_words_of_the_one_before(
    methods: ReconstructionMethods, crops: Crops
) -> None:
    before = torch.tensor([0, 1, 2, 3])
    reconstructions = methods.reconstruct(crops, before)
    tokenizer = methods.tokenizer
    words = tokenizer.global_tokens(crops.whole)[1]
    cells = tokenizer.encode_local(crops.crops)
    own, others = (
        tokenizer.decode(ImageTokens(ids, cells))
        for ids in (words, torch.stack([before, words[0], words[1]]))
    )
    assert torch.equal(reconstructions.global_ids, words)
    assert torch.allclose(reconstructions.rows[OWN].images, own, atol=0.51 / 255)
    assert torch.allclose(reconstructions.rows[SHUFFLED].images, others, atol=0.51 / 255)


def test_codecs_get_no_fewer_bytes_than_the_tokens_cost(methods: ReconstructionMethods, crops: Crops) -> None:
    codebooks = methods.tokenizer.local_codebook, methods.tokenizer.global_codebook
    bits = 64 * math.log2(len(codebooks[0])) + 4 * math.log2(len(codebooks[1]))
    assert methods.cost.total == pytest.approx(bits / 8)
    reconstructions = methods.reconstruct(crops, torch.zeros(4, dtype=torch.int64))
    assert reconstructions.rows[OWN].sizes == [methods.cost.total] * 3
    assert all(size >= methods.cost.total for codec in CODECS for size in reconstructions.rows[codec].sizes)
    assert reconstructions.rows[SHRUNK].sizes == [3 * 8 * 8] * 3


def test_the_rows_of_the_codebook_are_those_of_the_tokens(
    methods: ReconstructionMethods, crops: Crops
) -> None:
    reconstructions = methods.reconstruct(crops, torch.zeros(4, dtype=torch.int64))
    assert torch.equal(
        methods.tokenizer.local_codebook.token_ids[reconstructions.local_rows],
        methods.tokenizer.encode_local(crops.crops),
    )


@pytest.mark.parametrize("size", [60, 24])
def test_crops_must_fit_the_grid_and_the_metrics(size: int) -> None:
    with pytest.raises(V2LError, match="--size 64"):
        ReconstructionMethods(tiny_pipeline().tokenizer, size=size)


def test_without_words_means_trained_without_words(methods: ReconstructionMethods, crops: Crops) -> None:
    with pytest.raises(V2LError, match="cross_attention: false"):
        ReconstructionMethods(methods.tokenizer, methods.tokenizer, size=64)
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
    reconstructions = ReconstructionMethods(methods.tokenizer, blind, size=64).reconstruct(
        crops, torch.zeros(4, dtype=torch.int64)
    )
    assert reconstructions.rows[WITHOUT].images.shape == crops.crops.shape
    assert not torch.equal(reconstructions.rows[WITHOUT].images, reconstructions.rows[OWN].images)
