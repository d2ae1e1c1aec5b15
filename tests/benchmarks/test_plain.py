"""The plain readings that benchmarks time give what v2l gives."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import embedding
import lpips
import pytest
import quantizer as quantizer_benchmark
import torch
import training_step
from plain.embedding import embed_plainly
from plain.expansion import expand_plainly
from plain.filtering import vote_plainly
from plain.quantizer import quantize_plainly
from plain.training_step import PlainStep
from tiny_encoder import tiny_encoder
from tiny_llm import tiny_llm
from tiny_tokenizer import FOLDED, TRAINING, tiny_tokenizer
from torch import Tensor

from v2l.codebook.embedding import WordEmbedder
from v2l.codebook.expansion import Gram, expand, opening_prompt
from v2l.codebook.filtering import count_votes
from v2l.codebook.vocabulary import reason_to_drop
from v2l.encoders.image_features import encode_files
from v2l.encoders.openclip import OpenCLIP
from v2l.perceptual import LPIPSDistance
from v2l.processes import start_processes
from v2l.shards import Shards
from v2l.tokenizers.cnn.encoder import to_network_range
from v2l.tokenizers.quantizers.base import Quantized
from v2l.tokenizers.quantizers.frozen_words import LocalQuantizer
from v2l.training.data import Batch
from v2l.training.discriminator import build_discriminator
from v2l.training.loop import update_networks
from v2l.training.recipes.grid_losses import GridObjective

TINY_PAPER = """
extends: paper
model: {level_channels: [32, 32], res_blocks: 1, z_channels: 32, lookup_dim: 16, attention_heads: 2, attention_head_dim: 8}
"""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> OpenCLIP:
    return tiny_encoder(tmp_path_factory.mktemp("clip") / "tiny")


def test_expansion() -> None:
    llm = tiny_llm()
    usable = [
        Gram((i,), llm.surface(i)) for i in range(llm.vocabulary_size) if reason_to_drop(llm, i) is None
    ]
    words = [gram for gram in usable if gram.surface.startswith(" ")]
    grams, longest = [], words
    for _ in range(2):
        longest, _ = expand(
            longest, llm, llm.next_tokens([opening_prompt(gram, "a photo of {}") for gram in longest])
        )
        grams += longest
    assert expand_plainly(llm, words) == grams
    assert {gram.order for gram in grams} == {2, 3}


def test_embedding(encoder: OpenCLIP) -> None:
    words, templates = ["hat", "red dress", "Shoes!", "犬"], encoder.templates[:5]
    ours = WordEmbedder(encoder, templates, renormalize=False).embed(words)
    torch.testing.assert_close(embed_plainly(encoder, words, templates), ours, atol=1e-5, rtol=0)


def test_filtering(encoder: OpenCLIP, samples: Path, tmp_path: Path) -> None:
    paths = sorted(samples.glob("*/*.jpg"))[:5]
    candidates = WordEmbedder(encoder, ["{}"]).embed([f"word {number}" for number in range(20)])
    parts = encode_files(encoder, paths, Shards(tmp_path, "images"))
    assert torch.equal(vote_plainly(encoder, paths, candidates), count_votes(parts, candidates))


def test_the_benchmark_of_embedding_runs_and_prints_its_ratios(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = "--candidates 8 --templates 2 --plain-candidates 2 --layers 1 --width 64"
    monkeypatch.setattr(sys, "argv", ["embedding.py", *sizes.split()])
    embedding.main()
    printed = capsys.readouterr().out
    assert "8 words x 2 templates" in printed
    assert "of token positions" in printed


def test_quantizer() -> None:
    torch.manual_seed(0)
    ours, plain = (
        LocalQuantizer(torch.randn(50, 16), 8, commitment_weight=0.7, codebook_weight=0.3) for _ in range(2)
    )
    plain.load_state_dict(ours.state_dict())
    plain.embeddings.copy_(ours.embeddings)
    maps, push = torch.randn(2, 8, 3, 5), torch.randn(2, 8, 3, 5)
    results = []

    def quantize_by_formula(features: Tensor) -> Quantized:
        return quantize_plainly(features, plain.embeddings, plain.projection, 0.7, 0.3)

    for quantizer, quantize in ((ours, ours), (plain, quantize_by_formula)):
        features = maps.clone().requires_grad_()
        done = quantize(features)
        (done.loss + (done.quantized * push).sum()).backward()
        results.append(
            (
                done.indices,
                done.loss.detach(),
                features.grad,
                quantizer.projection.weight.grad,
                quantizer.projection.bias.grad,
            )
        )
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other)


def test_training_step() -> None:
    config = replace(
        TRAINING,
        adversarial_weight=0.5,
        discriminator_start=0.0,
        adversarial_start=0.0,
        adversarial_ramp=0.0,
        perceptual_weight=0.1,
    )
    generator = torch.Generator().manual_seed(0)
    images, words = (
        torch.rand(2, 3, 32, 32, generator=generator),
        torch.randint(0, 30, (2, 3), generator=generator),
    )
    torch.manual_seed(1)
    network = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False).eval()
    ours = GridObjective(
        tiny_tokenizer(FOLDED, config), LPIPSDistance(network, "random"), start_processes("cpu")
    )
    plain = PlainStep(tiny_tokenizer(FOLDED, config), build_discriminator(), network, ours.learning_rate(0))
    plain.discriminator.load_state_dict(ours.networks["discriminator"].network.state_dict())
    before = torch.cat([parameter.detach().flatten().clone() for parameter in plain.tokenizer.parameters()])
    terms = update_networks(ours, 0, ours.parts(Batch(images, words)))
    expected = plain(to_network_range(images), words)
    assert {name: terms[name] for name in expected if name != "discriminator"} == pytest.approx(
        {name: value for name, value in expected.items() if name != "discriminator"}, rel=1e-3
    )
    weights = [
        torch.cat([parameter.detach().flatten() for parameter in made.tokenizer.parameters()])
        for made in (ours, plain)
    ]
    assert (weights[0] - weights[1]).norm() < 0.05 * (
        weights[1] - before
    ).norm()  # Adam turns rounding into steps


@pytest.mark.parametrize(
    ("module", "sizes", "promised"),
    [
        (
            quantizer_benchmark,
            "--vectors 256 --entries 5000 --width 64 --repeats 1",
            "times the plain formula",
        ),
        (
            training_step,
            "--config {tiny} --size 32 --entries 100 --dim 16 --repeats 1 --plain-repeats 1",
            "random stand-ins",
        ),
    ],
    ids=["quantizer", "training_step"],
)
def test_a_benchmark_runs_at_small_sizes(
    module: ModuleType,
    sizes: str,
    promised: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "tiny.yaml").write_text(TINY_PAPER, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [module.__file__, *sizes.format(tiny=tmp_path / "tiny.yaml").split()])
    module.main()
    assert promised in capsys.readouterr().out
