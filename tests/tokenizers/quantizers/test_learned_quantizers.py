"""The field's other quantizers: the same contract, each with its published rule."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from tiny_tokenizer import FOLDED, tiny_tokenizer
from torch import Tensor
from torch.nn import functional

from v2l.config import ModelConfig, TrainingConfig
from v2l.tokenizers.quantizers.base import Quantizer
from v2l.tokenizers.quantizers.build import build_quantizer
from v2l.tokenizers.quantizers.ema_vq import DECAY, AveragedQuantizer
from v2l.tokenizers.quantizers.vq import LearnedQuantizer

V, D, WIDTH = 20, 16, 4
KINDS = ["words", "learned", "cosine", "averaged"]


def build(kind: str, restart_after: int = 0, seed: int = 0) -> Quantizer:
    torch.manual_seed(seed)
    network = ModelConfig(quantizer=kind, lookup_dim=WIDTH)
    quantizer = build_quantizer(network, TrainingConfig(restart_after=restart_after), torch.randn(V, D))
    quantizer.fit(torch.randn(500, WIDTH))
    return quantizer.train()


def features(seed: int = 1, height: int = 5) -> Tensor:
    return torch.randn(2, WIDTH, height, 6, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_every_quantizer_keeps_the_contract(kind: str) -> None:
    quantizer, maps = build(kind), features().requires_grad_()
    done = quantizer(maps)
    assert done.quantized.shape == maps.shape
    assert done.indices.shape == (2, 5, 6)
    assert quantizer.codebook_size == len(quantizer.entries()) == V
    assert torch.allclose(done.quantized, quantizer.lookup(done.indices), atol=1e-6)
    assert torch.equal(
        quantizer(quantizer.lookup(done.indices)).indices, done.indices
    )  # an entry is nearest to itself
    (done.quantized.sum() + done.loss).backward()
    assert maps.grad.abs().sum() > 0
    assert done.terms.keys() == {"commitment", "codebook"}


def test_a_learned_codebook_is_drawn_to_its_features_with_the_codebook_weight() -> None:
    quantizer, maps = build("learned"), features()
    assert isinstance(quantizer, LearnedQuantizer)
    done = quantizer(maps)
    done.loss.backward()
    difference = quantizer.lookup(done.indices) - maps
    wanted = torch.zeros(V, WIDTH).index_add_(
        0, done.indices.flatten(), difference.movedim(1, -1).reshape(-1, WIDTH)
    )
    assert torch.allclose(quantizer.codebook.grad, 0.33 * 2 * wanted / maps.numel(), atol=1e-6)


def test_cosine_compares_directions_only() -> None:
    quantizer, maps = build("cosine"), features()
    assert torch.equal(quantizer(maps).indices, quantizer(7 * maps).indices)
    assert torch.allclose(quantizer.entries().norm(dim=-1), torch.ones(V))
    rows = functional.normalize(maps.movedim(1, -1).reshape(-1, WIDTH), dim=-1)
    assert torch.equal(quantizer(maps).indices.flatten(), (rows @ quantizer.entries().T).argmax(dim=-1))


def test_a_moving_average_takes_one_step_of_the_published_rule() -> None:
    quantizer, maps = build("averaged"), features()
    assert isinstance(quantizer, AveragedQuantizer)
    before, chosen, rows = (
        quantizer.codebook.clone(),
        quantizer(maps).indices.flatten(),
        maps.movedim(1, -1).reshape(-1, WIDTH),
    )
    quantizer.after_step(kept=True)
    code = int(chosen[0])
    members = rows[chosen == code]
    count, total = DECAY + (1 - DECAY) * len(members), DECAY * before[code] + (1 - DECAY) * members.sum(dim=0)
    assert torch.allclose(quantizer.codebook[code], total / count, rtol=1e-3)
    assert not any(True for _ in quantizer.parameters())


def test_parts_teach_what_the_whole_batch_teaches_and_skipped_steps_teach_nothing() -> None:
    whole, parts, skipped = (build("averaged", restart_after=1) for _ in range(3))
    maps = features(height=6)
    whole(maps)
    for part in maps.split(1):
        parts(part)
    skipped(maps)
    for quantizer, kept in ((whole, True), (parts, True), (skipped, False)):
        torch.manual_seed(3)
        quantizer.after_step(kept)
        quantizer.after_step(kept=True)  # nothing was seen since
    assert torch.allclose(whole.codebook, parts.codebook, atol=1e-6)
    assert torch.equal(skipped.codebook, build("averaged", restart_after=1).codebook)


@pytest.mark.parametrize("kind", ["learned", "cosine", "averaged"])
def test_dead_codes_move_to_features(kind: str) -> None:
    quantizer = build(kind, restart_after=3)
    with torch.no_grad():
        quantizer.codebook.copy_(
            torch.eye(WIDTH)[torch.zeros(V, dtype=torch.int64)] + 1e-3 * torch.randn(V, WIDTH)
        )
    maps = torch.randn(2, WIDTH, 6, 6)
    maps[:, 0] = -maps[:, 0].abs()  # all on the other side
    used = [len(quantizer(maps).indices.unique())]
    for _ in range(8):
        quantizer.after_step(kept=True)
        used.append(len(quantizer(maps).indices.unique()))
    assert used[0] <= V / 2 < used[-1]


def test_a_tokenizer_with_a_learned_codebook_encodes_and_decodes() -> None:
    model = tiny_tokenizer(replace(FOLDED, quantizer="learned"))
    assert "quantizer.codebook" in model.state_dict()
    assert model.encode_local(torch.rand(1, 3, 32, 32)).shape == (1, 4, 4)
