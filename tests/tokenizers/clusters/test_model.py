"""The tokenizer of clusters keeps the contract, and survives images with nothing in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_namer import tiny_namer
from torch import Tensor

from v2l.errors import V2LError
from v2l.tokenizers.clusters.model import ClusterTokenizer
from v2l.tokenizers.clusters.settings import (
    ClusterConfig,
    ClusterSettings,
    NetworkSettings,
    TrainedSettings,
)
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokenizers.patch_words import mean_features
from v2l.tokenizers.positions import sine_positions
from v2l.tokens import ClusterMap

SETTINGS = ClusterSettings(side=32, neighbours=2, threshold=0.3, if_none=1, position_weight=0.0, refine=2)


@pytest.fixture(scope="module")
def tokenizer() -> ClusterTokenizer:
    return ClusterTokenizer(SETTINGS, tiny_namer()).eval()


def halves() -> Tensor:
    """An image (3, 64, 96), red on the left and blue on the right."""
    image = torch.zeros(3, 64, 96)
    image[0, :, :48], image[2, :, 48:] = 1.0, 1.0
    return image


def test_two_halves_are_two_clusters_with_their_cells(tokenizer: ClusterTokenizer) -> None:
    tokens = tokenizer.encode(halves()[None])
    assert isinstance(tokens.layout, ClusterMap)
    cells = tokens.layout.tokens[0]
    assert cells.shape == (8, 12)  # 4 × 6 patches, each in 2 × 2 cells
    assert cells[:, :5].unique().numel() == cells[:, 7:].unique().numel() == 1
    assert cells[0, 0] != cells[0, -1]
    assert len(tokens.words[0]) == len(tokens.places()) == 2


def test_a_tokens_word_is_the_nearest_to_the_mean_of_its_patches(tokenizer: ClusterTokenizer) -> None:
    image = halves()
    tokens = tokenizer.encode(image[None])
    features = tokenizer.patch_features(image[None])[0]
    left = int(tokens.layout.tokens[0, 0, 0])
    vector = tokenizer.joint_encoder.to_joint_space(features[:, :3].mean(dim=(0, 1)))
    torch.testing.assert_close(tokens.embeddings[0, left], vector, atol=1e-5, rtol=0)
    cosines = tokenizer.namer.codebook.embeddings.float() @ vector
    assert tokens.words[0][left].score == pytest.approx(cosines.max().item(), abs=1e-5)


def test_the_largest_cluster_comes_first(tokenizer: ClusterTokenizer) -> None:
    image = torch.zeros(3, 64, 96)
    image[0, :, :16] = 1.0
    cells = tokenizer.encode(image[None]).layout.tokens[0]
    assert cells.flatten().bincount().argmax() == 0


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (40, 2000), (96, 64)])
def test_every_size_is_read(size: tuple[int, int], tokenizer: ClusterTokenizer) -> None:
    tokens = tokenizer.encode(torch.rand(2, 3, *size))
    assert all(len(tokens.words[image]) == len(tokens.places(image)) > 0 for image in range(2))


def test_a_uniform_image_is_one_cluster(tokenizer: ClusterTokenizer) -> None:
    tokens = tokenizer.encode(torch.stack([torch.full((3, 32, 48), 0.5), torch.rand(3, 32, 48)]))
    assert len(tokens.places(0)) == len(tokens.words[0]) == 1
    assert tokens.layout.tokens[0].max() == 0


def test_an_image_alone_and_in_a_batch_has_the_same_tokens(tokenizer: ClusterTokenizer) -> None:
    images = torch.stack([halves(), halves().flip(-1), 0.5 * halves()])
    batch = tokenizer.encode(images)
    for place in range(3):
        assert batch[place].words == tokenizer.encode(images[place : place + 1]).words


def test_it_comes_back_from_its_directory(tokenizer: ClusterTokenizer, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path / "setok")
    again = load_tokenizer(tmp_path / "setok", device="cpu")
    assert isinstance(again, ClusterTokenizer)
    again.namer.use_joint_encoder(tokenizer.joint_encoder)
    assert again.cluster_settings == SETTINGS
    assert again.encode(halves()[None]).words == tokenizer.encode(halves()[None]).words
    explained = again.explain(halves(), again.encode(halves()[None]))
    assert len(explained.words) == 2


def test_the_presets_are_read_and_checked() -> None:
    assert ClusterConfig.load("paper") == ClusterConfig()
    assert ClusterConfig.load("small").clusters.if_none == 1
    with pytest.raises(
        V2LError, match="no preset of setok and no file; allowed: paper, quick, small, or a YAML"
    ):
        ClusterConfig.load("large")


def test_what_ships_names_the_shipped_words_and_its_preset() -> None:
    tokenizer = load_tokenizer("setok", device="cpu")
    assert isinstance(tokenizer, ClusterTokenizer)
    assert tokenizer.namer.ships
    config = ClusterConfig.load("small")
    assert tokenizer.cluster_settings == config.clusters
    assert tokenizer.trained is not None
    assert tokenizer.trained.network == config.network


def test_means_of_parts_leave_out_what_belongs_to_none() -> None:
    features, members = torch.tensor([[1.0], [3.0], [9.0]]), torch.tensor([0, 0, -1])
    assert mean_features(features, members, 2).tolist() == [[2.0], [0.0]]


def test_positions_are_sines_of_row_and_column() -> None:
    positions = sine_positions((3, 5), 9)
    assert positions.shape == (3, 5, 9)
    assert torch.equal(positions[2, 0, :4], positions[2, 4, :4])
    torch.testing.assert_close(positions[2, 4, 0], torch.tensor(2.0).sin())
    torch.testing.assert_close(positions[2, 4, 6], torch.tensor(4.0).cos())
    assert positions[..., 8].abs().max() == 0


def test_without_training_there_is_no_decoder(tokenizer: ClusterTokenizer) -> None:
    with pytest.raises(V2LError, match="this checkpoint of setok has no trained detokenizer"):
        tokenizer.decode(tokenizer.encode(halves()[None]))


def test_a_trained_one_paints_an_image_from_its_tokens_alone() -> None:
    torch.manual_seed(0)
    sizes = NetworkSettings(
        width=16,
        heads=2,
        token_width=8,
        mapper_layers=1,
        decoder_blocks=1,
        cells=4,
        image_size=16,
        reads_map=True,
        colour_terms=2,
    )
    tokenizer = ClusterTokenizer(SETTINGS, tiny_namer(), TrainedSettings(sizes, 48, 16)).eval()
    tokens = tokenizer.encode(halves()[None])
    assert tokens.words == ClusterTokenizer(SETTINGS, tiny_namer()).eval().encode(halves()[None]).words
    painted = tokenizer.decode_whole(tokens, (64, 96))
    assert painted.shape == (3, 64, 96)
    torch.testing.assert_close(
        painted[:, :, :24].mean(dim=(1, 2)), torch.tensor([1.0, 0, 0]), atol=0.1, rtol=0
    )
    torch.testing.assert_close(
        painted[:, :, -24:].mean(dim=(1, 2)), torch.tensor([0, 0, 1.0]), atol=0.1, rtol=0
    )
    with pytest.raises(V2LError, match="tokens without a cluster map"):
        tokenizer.decode(replace(tokens, layout=None))
    with pytest.raises(V2LError, match="vectors of width 16; allowed: those of this tokenizer, 20 wide"):
        tokenizer.decode(replace(tokens, embeddings=torch.zeros(1, 2, 16)))
