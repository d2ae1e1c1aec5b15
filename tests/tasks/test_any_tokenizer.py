"""Every task that reads words takes any tokenizer that gives words; the others refuse it in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_llm import tiny_llm
from tiny_words_tokenizer import QuarterTokenizer

from v2l.datasets import Episode, LabelledImage
from v2l.errors import V2LError
from v2l.images import Skipped
from v2l.masks import centre_mask
from v2l.pipeline.image_words import WordSelection
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.classification.fewshot import FewShotSettings, Method, evaluate_fewshot
from v2l.tasks.description.describe import Describer, DescribeSettings
from v2l.tasks.restoration.inpaint import inpaint


@pytest.fixture(scope="module")
def quarters() -> Pipeline:
    """A tokenizer with one to four words an image, no decoder and no joint space, and a tiny LLM."""
    return Pipeline(QuarterTokenizer(), tiny_llm(2048))


def test_few_shot_classification_reads_its_words(quarters: Pipeline, samples: Path) -> None:
    support = (
        LabelledImage(samples / "hat" / "straw.jpg", "hat"),
        LabelledImage(samples / "shoes" / "boots.jpg", "shoes"),
    )
    episode = Episode(support, LabelledImage(samples / "hat" / "plaid.jpg", "hat"))
    settings = FewShotSettings(method=Method(words=WordSelection(4)))
    (prediction,) = evaluate_fewshot(quarters, [episode], settings).predictions
    assert prediction.label in {"hat", "shoes"}
    assert 1 <= len(prediction.words) <= 4
    assert set(prediction.words) <= set(quarters.tokenizer.words)
    assert prediction.baselines.keys() == {"majority", "shared words"}  # a prototype needs vectors


@pytest.mark.parametrize(("task", "question"), [("caption", ""), ("vqa", "What is it?")])
def test_captions_and_answers_read_its_words(
    quarters: Pipeline, samples: Path, task: str, question: str
) -> None:
    describer = Describer(quarters, task, DescribeSettings(n_examples=0))
    files = [samples / "hat" / "straw.jpg", samples / "shoes" / "boots.jpg"]
    described = dict(describer.over(files, Skipped(), question))
    assert list(described) == files
    assert all(set(found.words) <= set(quarters.tokenizer.words) for found in described.values())


def test_ranking_candidates_without_a_joint_space_is_refused(quarters: Pipeline, samples: Path) -> None:
    describer = Describer(quarters, "caption", DescribeSettings(n_examples=0, candidates=2))
    with pytest.raises(V2LError, match="no joint encoder"):
        dict(describer.over([samples / "hat" / "straw.jpg"], Skipped()))


def test_restoration_refuses_it_and_names_the_tokenizers_that_can(quarters: Pipeline) -> None:
    image = torch.rand(3, 64, 64)
    with pytest.raises(V2LError, match="grid") as caught:
        inpaint(quarters, image, centre_mask((64, 64)))
    assert "v2l" in caught.value.allowed
    assert "\n" not in str(caught.value)
