"""Any tokenizer that gives words feeds the tasks, with or without a joint space."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_words_tokenizer import QuarterTokenizer

from v2l.api import reconstruct, words
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.pipeline.image_words import ImageWords, WordSelection, read_image_words, words_of_images
from v2l.pipeline.pipeline import Pipeline
from v2l.tokenizers import registry
from v2l.tokenizers.contract import ImageTokenizer


@pytest.fixture
def paths(samples: Path) -> list[Path]:
    """A few photographs."""
    return sorted(samples.rglob("*.jpg"))[:3]


@pytest.fixture
def quarters(pipeline: Pipeline) -> Pipeline:
    """A pipeline whose tokenizer has words of its own, no joint space and no decoder."""
    return Pipeline(QuarterTokenizer(), pipeline.llm)


def test_files_and_loaded_images_give_the_same_words(pipeline: Pipeline, paths: list[Path]) -> None:
    tokenizers: list[ImageTokenizer] = [pipeline.tokenizer, QuarterTokenizer()]
    for tokenizer in tokenizers:
        choice = WordSelection(3, "nearest")
        read = read_image_words(tokenizer, paths, choice)
        loaded = words_of_images(tokenizer, [load_image(path) for path in paths], choice)
        assert [read[path].words for path in paths] == [image.words for image in loaded]
        assert all(1 <= len(image.words) <= 3 for image in loaded)


def test_words_without_a_joint_space_have_no_vector_and_say_so(paths: list[Path]) -> None:
    image = read_image_words(QuarterTokenizer(), paths[:1], WordSelection(3))[paths[0]]
    assert image.joint_vector is None
    with pytest.raises(V2LError, match="no vector in a joint space"):
        _ = image.vector
    assert torch.equal(ImageWords(("a",), torch.ones(2)).vector, torch.ones(2))


def test_a_tokenizer_without_words_is_refused(paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(QuarterTokenizer, "NAME", "v2l-codes")
    monkeypatch.setattr(registry, "_MEMBERS", dict(registry._MEMBERS))  # forgotten after this test
    registry.register_tokenizer("v2l-codes", "tiny_words_tokenizer:QuarterTokenizer", gives=("codes",))
    with pytest.raises(V2LError, match=r"needs words for a whole image.*'v2l-codes'.*allowed: v2l"):
        read_image_words(QuarterTokenizer(), paths, WordSelection(3))


def test_the_functions_take_any_tokenizer(quarters: Pipeline, paths: list[Path]) -> None:
    found = words(paths[0], 2, quarters)
    assert {word.word for word in found} <= {"hat", "dress", "shoes", "pants"}
    assert [word.score for word in found] == sorted((word.score for word in found), reverse=True)
    with pytest.raises(V2LError, match=r"needs a decoder.*'tiny-quarters'"):
        reconstruct(paths[0], quarters)


def test_the_whole_photograph_is_reconstructed_at_its_own_size(pipeline: Pipeline) -> None:
    image = torch.rand(3, 50, 83)
    assert reconstruct(image, pipeline).shape == (3, 50, 83)
    assert reconstruct(image, pipeline, square=True).shape == (3, 64, 64)
