"""The two CNNs: sizes as published, what the cross-attention lets through, and any size that is a multiple of
f.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_tokenizer import FOLDED, NETWORK
from torch import nn

from v2l.config import ModelConfig, load_config
from v2l.errors import V2LError
from v2l.tokenizers.cnn.decoder import Decoder
from v2l.tokenizers.cnn.encoder import Encoder, downsampling_factor, to_image_range, to_network_range

D = 16


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_official_sizes_are_those_of_the_released_checkpoint() -> None:
    network = load_config("official").model
    with torch.device("meta"):
        encoder, decoder = Encoder(network), Decoder(network, 768)
    assert (parameters(encoder), parameters(decoder)) == (26_455_936, 48_746_499)
    assert (len(encoder.state_dict()), len(decoder.state_dict())) == (106, 143)
    shapes = {key: tuple(tensor.shape) for key, tensor in decoder.state_dict().items()}
    assert shapes["mid.cross_attn_1.to_q.weight"] == (4096, 512)
    assert shapes["mid.cross_attn_1.to_out.0.bias"] == (512,)
    assert shapes["up.0.block.0.nin_shortcut.weight"] == (128, 256, 1, 1)
    assert tuple(encoder.state_dict()["down.3.block.0.nin_shortcut.weight"].shape) == (512, 256, 1, 1)


@pytest.mark.parametrize("network", [NETWORK, FOLDED], ids=["paper's design", "folded stem"])
@pytest.mark.parametrize("size", [(32, 32), (16, 40)])
def test_eight_pixels_a_side_become_a_cell_and_come_back(network: ModelConfig, size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size)
    assert downsampling_factor(network) == 8
    features = Encoder(network)(images)
    assert features.shape == (2, network.z_channels, size[0] // 8, size[1] // 8)
    assert Decoder(network, D)(features, torch.randn(2, 3, D)).shape == images.shape


def decoded_difference(network: ModelConfig) -> float:
    """How much two different feature maps differ once decoded, when all global words are the same."""
    torch.manual_seed(0)
    decoder = Decoder(network, D)
    context = torch.randn(1, 1, D).expand(1, 3, D)
    first, second = (decoder(torch.randn(1, network.z_channels, 4, 4), context) for _ in range(2))
    return (first - second).abs().max().item()


def test_space_passes_the_cross_attention_by_default_and_not_in_the_official_variant() -> None:
    assert decoded_difference(NETWORK) > 1e-3
    assert decoded_difference(replace(NETWORK, variant="official")) < 1e-5


def test_global_words_change_the_picture() -> None:
    torch.manual_seed(0)
    decoder, features = Decoder(FOLDED, D), torch.randn(1, FOLDED.z_channels, 4, 4)
    one, other = (decoder(features, torch.randn(1, 3, D)) for _ in range(2))
    assert (one - other).abs().max() > 1e-4


def test_a_decoder_without_cross_attention_needs_no_words_and_one_with_it_says_so() -> None:
    features = torch.randn(1, FOLDED.z_channels, 4, 4)
    assert Decoder(replace(FOLDED, cross_attention=False), D)(features, None).shape == (1, 3, 32, 32)
    with pytest.raises(V2LError, match="global words"):
        Decoder(FOLDED, D)(features, None)


def test_ranges_are_inverse_and_decoded_values_are_clamped() -> None:
    images = torch.rand(1, 3, 8, 8)
    assert torch.allclose(to_image_range(to_network_range(images)), images, atol=1e-6)
    assert to_image_range(torch.tensor([-3.0, 3.0])).tolist() == [0.0, 1.0]
