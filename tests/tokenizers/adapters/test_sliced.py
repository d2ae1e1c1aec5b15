"""Slices have a resampler in common, and only the LLM's own comma and line break say where they are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_pipeline import tiny_pipeline

from v2l.captions import CaptionedImage
from v2l.images import load_image, resize, save_image
from v2l.llm import GenerationConfig
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.soft import soft_prompt
from v2l.tokenizers.adapters.resampler import ResamplerTokenizer
from v2l.tokenizers.adapters.sliced import BREAK, COMMA, SlicedTokenizer, marks_behind
from v2l.tokenizers.loading import load_tokenizer
from v2l.tokens import Boxes
from v2l.training.recipes.adapter import AdapterRun
from v2l.training.recipes.adapter_models import AdapterModels
from v2l.training.recipes.adapter_run import AdapterTraining
from v2l.training.recipes.part_data import CaptionedParts, read_parts

TOKENS = 4


@pytest.fixture(scope="module")
def models() -> AdapterModels:
    pipeline = tiny_pipeline()
    return AdapterModels(pipeline.tokenizer.joint_encoder, pipeline.llm, pipeline.tokenizer.global_codebook)


@pytest.fixture(autouse=True)
def _own_cache(own_cache: None) -> None:
    """Features stay out of the user's cache."""


@pytest.fixture
def images(models: AdapterModels, tmp_path: Path) -> list[CaptionedImage]:
    """A square that fits into the encoder's, one twice as wide and twice as high, and a broken file."""
    side = models.encoder.image_size
    torch.manual_seed(0)
    for name, size in (("small", (side, side)), ("large", (2 * side, 2 * side)), ("wide", (side, 3 * side))):
        save_image(torch.rand(3, *size), tmp_path / f"{name}.png")
    (tmp_path / "broken.png").write_text("no image", encoding="utf-8")
    return [
        CaptionedImage(tmp_path / f"{name}.png", label=name) for name in ("small", "broken", "large", "wide")
    ]


def adapter_of(models: AdapterModels, images: list[CaptionedImage], run: Path) -> SlicedTokenizer:
    settings = AdapterRun(run, steps=1, batch_size=2)
    recipe = AdapterTraining("uhd", TOKENS, images, settings).recipe(models, lambda *_: None, None)
    assert isinstance(recipe.tokenizer, SlicedTokenizer)
    return recipe.tokenizer


@pytest.mark.parametrize(
    ("parts", "columns", "marks"),
    [
        (1, 0, [None]),
        (3, 2, [BREAK, COMMA, None]),
        (5, 2, [BREAK, COMMA, BREAK, COMMA, None]),
        (3, 1, [BREAK, BREAK, None]),
    ],
)
def test_a_comma_ends_a_slice_and_a_break_ends_a_row(
    parts: int, columns: int, marks: list[int | None]
) -> None:
    assert marks_behind(parts, columns) == marks


def test_each_part_is_resampled_by_itself(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path
) -> None:
    adapter = adapter_of(models, images, tmp_path)
    torch.nn.init.normal_(adapter.network.resampler.output[-1].weight)  # training starts with zeros
    whole = ResamplerTokenizer(adapter.adapter)
    whole.network.load_state_dict(adapter.network.state_dict(), strict=False)  # all but the marks
    whole.use_joint_encoder(models.encoder)
    image = load_image(tmp_path / "large.png")
    tokens = adapter.encode(image[None])
    assert isinstance(tokens.layout, Boxes)
    soft, boxes = tokens.embeddings[0], tokens.layout.corners[0].tolist()
    comma, line = (
        models.llm.input_embeddings([models.llm.encode_pieces(mark)[0]])[0] for mark in (",", "\n")
    )
    half = [(0.0, 0.0, 1.0, 1.0), (0, 0, 0.5, 0.5), (0.5, 0, 1, 0.5), (0, 0.5, 0.5, 1), (0.5, 0.5, 1, 1)]
    height, width = image.shape[-2:]
    start = 0
    for box, mark in zip(half, (line, comma, line, comma, None), strict=True):
        left, top, right, bottom = box
        part = image[:, int(top * height) : int(bottom * height), int(left * width) : int(right * width)]
        square = resize(part, (models.encoder.image_size,) * 2)[None]
        alone = whole(models.encoder.patch_features(square))
        assert torch.allclose(soft[start : start + TOKENS], alone[0], atol=1e-5)
        assert [tuple(one) for one in boxes[start : start + TOKENS]] == [box] * TOKENS
        start += TOKENS
        if mark is not None:
            assert torch.allclose(soft[start], mark, atol=1e-5)
            assert tokens.words[0][start].word == ""
            start += 1
    assert start == len(soft)
    assert len(adapter.encode(load_image(tmp_path / "small.png")[None]).embeddings[0]) == TOKENS


def test_training_reads_what_encode_reads(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path
) -> None:
    adapter, data = adapter_of(models, images, tmp_path), read_parts(models.encoder, images)
    assert isinstance(data, CaptionedParts)
    assert [image.label for image in data.images] == ["small", "large", "wide"]
    assert data.unreadable == (tmp_path / "broken.png",)
    for place, image in enumerate(data.images):
        encoded = adapter.encode(load_image(image.file)[None]).embeddings[0]
        assert torch.allclose(adapter(*data.read(place)), encoded, atol=1e-2)  # features are kept in float16


def test_a_trained_adapter_is_read_again_and_the_llm_reads_it(
    models: AdapterModels, images: list[CaptionedImage], tmp_path: Path
) -> None:
    settings = AdapterRun(tmp_path / "run", 1e-2, 2, 1, batch_size=2, save_every=1, watch_every=1)
    AdapterTraining("uhd", TOKENS, images, settings).train(models, lambda *_: None)
    again = load_tokenizer(tmp_path / "run" / "model", device="cpu")
    assert isinstance(again, SlicedTokenizer)
    again.use_joint_encoder(models.encoder)
    soft = again.encode(load_image(tmp_path / "wide.png")[None]).embeddings[0]
    assert len(soft) == 4 * TOKENS + 3
    prompt = soft_prompt(Embeddings(soft.detach()))
    assert models.llm.generate([prompt], GenerationConfig(2))[0].text
