"""A request of images, texts and boxes becomes one prompt, and a malformed one is one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_llm import tiny_llm
from tiny_pipeline import tiny_pipeline
from tiny_words_tokenizer import QuarterTokenizer

from v2l.errors import V2LError
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.description.interleaved import AskSettings, ask, build_prompt
from v2l.tokenizers.regions.model import RegionSettings, RegionTokenizer


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    """The V2L grid: words of the whole image."""
    return tiny_pipeline(2048)


@pytest.fixture(scope="module")
def regions(pipeline: Pipeline) -> Pipeline:
    """Four regions at most."""
    tokenizer = RegionTokenizer(RegionSettings(most=4), namer=pipeline.grid.tagger)
    return Pipeline(tokenizer, pipeline.llm)


def test_a_request_is_answered(pipeline: Pipeline, samples: Path) -> None:
    request = [
        {"image": "shoes/boots.jpg"},
        {"image": torch.rand(3, 40, 60)},
        {"text": "What is "},
        {"ref": "the shoe", "box": [0, 0, 30, 40]},
        {"text": "?"},
    ]
    reply = ask(pipeline, request, folder=samples)
    assert isinstance(reply.text, str)
    assert len(reply.words) == 2
    lines = reply.prompt.splitlines()
    assert [line.split(":")[0] for line in lines[2:4]] == ["Photo 1", "Photo 2"]
    assert lines[4].startswith("What is the shoe (")
    assert lines[4].endswith(", centre left)?")


def test_a_box_has_the_words_of_its_own_pixels(pipeline: Pipeline) -> None:
    image = torch.rand(3, 40, 80)
    parts = [{"image": image}, {"box": [0, 0, 40, 40]}, {"text": "?"}]
    prompt, _ = build_prompt(pipeline, parts, AskSettings(n_part_words=3), Path())
    named = pipeline.tokenizer.image_words(image[None, :, :, :40], 3).words[0]
    assert f"this ({', '.join(word.word for word in named)}, centre left)" in prompt.text(str)


def test_a_tokenizer_that_names_no_parts_gives_the_position_alone() -> None:
    pipeline = Pipeline(QuarterTokenizer(), tiny_llm(2048))
    parts = [{"image": torch.rand(3, 8, 8)}, {"ref": "it", "box": [0, 0, 2, 2]}, {"text": "?"}]
    prompt, words = build_prompt(pipeline, parts, AskSettings(), Path())
    assert "it (top left)?" in prompt.text(str)
    assert all("(" in word for word in words[0])


def test_a_text_names_the_regions_of_the_image_before_it(regions: Pipeline) -> None:
    image = {"image": torch.rand(3, 40, 60)}
    prompt, words = build_prompt(regions, [image, {"text": "What is <r0>?"}], AskSettings(), Path())
    assert f"What is {words[0][0]}?" in prompt.text(str)
    with pytest.raises(V2LError, match=r"names <r7>, and the image has \d region"):
        build_prompt(regions, [image, {"text": "What is <r7>?"}], AskSettings(), Path())


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ([{"text": "a", "image": "b"}], "part 1 has the keys text, image"),
        ([{}], "part 1 has the keys none"),
        ([{"text": 3}], "part 1 has the text 3"),
        ([{"image": 3}], "part 1 has the image 3"),
        ([{"box": [0, 0, 1]}], "part 1 has the box"),
        ([{"box": [0, 0, 1, 1]}], "part 1 has a box before any image"),
        ([{"image": torch.rand(3, 8, 8)}, {"box": [0, 0, 9, 9]}, {"text": "?"}], "lies outside the image"),
        ([{"image": torch.rand(3, 8, 8)}], "got no text that asks something"),
        ([], "got no text that asks something"),
        ([{"image": "missing.jpg"}, {"text": "?"}], "there is no file missing.jpg"),
    ],
)
def test_a_malformed_request_is_one_line(
    pipeline: Pipeline, request_: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(V2LError, match=message) as caught:
        ask(pipeline, request_)
    assert "\n" not in str(caught.value)
