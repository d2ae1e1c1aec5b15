"""The short way through a causal text tower gives the vectors of the long way, and towers of other kinds
take the long way."""

from __future__ import annotations

import logging
from typing import Any

import open_clip
import pytest
import torch
from open_clip.model import set_model_preprocess_cfg
from tiny_encoder import ARCHITECTURE
from torch import Tensor

from v2l.encoders import JointEncoder, causal
from v2l.encoders.causal import CausalTower
from v2l.encoders.openclip import IMAGENET_TEMPLATES, OpenCLIP

WORDS = [
    "hat",
    "Hat",
    "red dress",
    "{}",
    "犬",
    "a",
    "100%",
    "!!",
    "",
    "<end_of_text> hat",
    "so many words " * 9,
]
TEMPLATES = (
    "a photo of a {}.",
    "{}",
    "{} in a photo",
    "itap of my {}.",
    "a photo of many{}",
    "a photo of a photo of a photo of {}",
    "!{}!",
)
END = 49407


def clip(
    kind: type[torch.nn.Module] = open_clip.CLIP, dtype: torch.dtype = torch.float32, **text: Any
) -> OpenCLIP:
    """A tiny model of open_clip whose text half is as `text` says."""
    torch.manual_seed(0)
    model = kind(**ARCHITECTURE | {"text_cfg": ARCHITECTURE["text_cfg"] | text})
    half = getattr(model, "text", model)
    with torch.no_grad():
        half.token_embedding.weight.mul_(20)
    set_model_preprocess_cfg(model, {"size": 32, "mean": (0.5,) * 3, "std": (0.5,) * 3})
    return OpenCLIP(model.to(dtype), open_clip.SimpleTokenizer(context_length=half.context_length), "tiny")


def long_way(encoder: JointEncoder, template: str) -> Tensor:
    return encoder.encode_texts([template.format(word) for word in WORDS])


CAUSAL = [
    ({}, open_clip.CLIP),
    ({"pool_type": "eos", "eos_id": END}, open_clip.CLIP),
    ({"proj_bias": True, "ls_init_value": 0.5}, open_clip.CLIP),
    ({"proj_type": "none"}, open_clip.CustomTextCLIP),
]
OTHERS = [
    {"no_causal_mask": True, "pool_type": "last"},  # as SigLIP's
    {"no_causal_mask": True},
    {"embed_cls": True},  # as CoCa's
    {"pool_type": "last"},
    {"qk_norm": True},
]


@pytest.mark.parametrize(("text", "kind"), CAUSAL)
def test_vectors_are_those_of_padded_texts(text: dict[str, Any], kind: type[torch.nn.Module]) -> None:
    encoder = clip(kind, **text)
    assert encoder.causal_tower is not None
    for template in TEMPLATES:
        short = encoder.in_template(template)(WORDS)
        assert short.dtype == torch.float32
        torch.testing.assert_close(short, long_way(encoder, template), atol=1e-5, rtol=0)


@pytest.mark.parametrize("text", OTHERS)
def test_other_towers_run_every_text_as_it_is(text: dict[str, Any]) -> None:
    encoder = clip(open_clip.CustomTextCLIP, **text)
    assert encoder.causal_tower is None
    torch.testing.assert_close(
        encoder.in_template(TEMPLATES[0])(WORDS), long_way(encoder, TEMPLATES[0]), atol=1e-5, rtol=0
    )


def test_half_precision_agrees_as_far_as_it_can() -> None:
    encoder = clip(dtype=torch.bfloat16)
    assert encoder.causal_tower is not None
    short = encoder.in_template(TEMPLATES[0])(WORDS)
    torch.testing.assert_close(short.norm(dim=-1), torch.ones(len(WORDS)))
    assert (short - long_way(encoder, TEMPLATES[0])).norm(dim=-1).max() < 0.05


def test_a_short_way_that_differs_is_reported_and_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    encoder, right = clip(), CausalTower.encode
    monkeypatch.setattr(
        CausalTower, "encode", lambda tower, rows, beginning: right(tower, rows, beginning).roll(1, dims=-1)
    )
    with caplog.at_level(logging.WARNING):
        assert encoder.causal_tower is None
    assert "so texts are run whole" in caplog.text
    torch.testing.assert_close(
        encoder.in_template(TEMPLATES[0])(WORDS), long_way(encoder, TEMPLATES[0]), atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("positions", [1, 20, 10**6])
def test_vectors_do_not_depend_on_the_batches(positions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = clip()
    expected = long_way(encoder, TEMPLATES[0])
    monkeypatch.setattr(causal, "CPU_POSITIONS", positions)
    torch.testing.assert_close(encoder.in_template(TEMPLATES[0])(WORDS), expected, atol=1e-5, rtol=0)


def test_a_beginning_is_run_once_and_a_text_from_its_own_tokens_on() -> None:
    encoder, run = clip(), []
    assert encoder.causal_tower is not None
    encoder.model.transformer.resblocks[0].mlp.register_forward_hook(
        lambda module, inputs, output: run.append(output.shape[:2])
    )
    encode = encoder.in_template("a photo of a {}")
    assert run == [(1, 5)]  # start of text, a, photo, of, a
    encode(["hat", "dress"])
    encode(["Hat", " hat ", "shoe"])
    assert run[1:] == [(2, 2), (2, 2)]  # a word and the end of text; what reads alike once


def test_a_text_whose_tokens_do_not_begin_as_the_template_is_run_whole() -> None:
    encoder = clip()
    begin, whole = (
        encoder.causal_tower.cut(encoder.tokenizer([text]))[0]
        for text in ("a photo of many", "a photo of manyhats")
    )
    assert not encoder.causal_tower.begin(begin[:-1]).begins(whole)
    torch.testing.assert_close(
        encoder.in_template("a photo of many{}")(["hats"]),
        encoder.encode_texts(["a photo of manyhats"]),
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize("template", IMAGENET_TEMPLATES[::16])
def test_an_encoder_without_a_short_way_encodes_what_reads_alike_once(
    template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, encoded = clip(open_clip.CustomTextCLIP, pool_type="last"), []
    expected, encode_texts = long_way(encoder, template), encoder.encode_texts
    monkeypatch.setattr(encoder, "encode_texts", lambda texts: encoded.extend(texts) or encode_texts(texts))
    torch.testing.assert_close(encoder.in_template(template)(WORDS), expected, atol=1e-5, rtol=0)
    assert (
        len(encoded)
        == len(set(encoder.tokenize_texts([template.format(word) for word in WORDS])))
        < len(WORDS)
    )
