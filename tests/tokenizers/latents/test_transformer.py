"""Latents of a shorter length do not see those of a longer one."""

from __future__ import annotations

import torch
from tiny_titok import TINY

from v2l.tokenizers.latents.transformer import LatentEncoder


def test_a_latent_sees_patches_and_latents_of_its_own_length_or_a_shorter_one() -> None:
    encoder = LatentEncoder(TINY, channels=3, cell=2)
    hidden = encoder.hidden(8)
    places = 1 + TINY.grid**2
    assert hidden.shape == (places + 8, places + 8)
    assert hidden[:places, places:].all()  # patches see no latents
    assert not hidden[:, :places].any()  # everything sees [CLS] and patches
    for row in range(8):
        block = next(end for _, end in TINY.blocks if row < end)
        assert (~hidden[places + row, places:]).tolist() == [column < block for column in range(8)]


def test_the_first_codes_do_not_depend_on_how_many_follow() -> None:
    torch.manual_seed(0)
    encoder, latents = LatentEncoder(TINY, channels=3, cell=2).eval(), torch.randn(8, TINY.width)
    patches = torch.randn(2, 3, 4, 4)
    with torch.inference_mode():
        whole = encoder(patches, latents)
        for length in TINY.lengths:
            assert torch.allclose(encoder(patches, latents[:length]), whole[:, :length], atol=1e-6)
