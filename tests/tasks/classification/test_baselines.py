"""The baselines without an LLM: majority, nearest prototype, nearest name, most shared words."""

from __future__ import annotations

from pathlib import Path

import torch

from v2l.datasets import Episode, LabelledImage
from v2l.pipeline.image_words import ImageWords
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.classification.baselines import (
    majority,
    most_shared_words,
    name_vectors,
    nearest_name,
    nearest_prototype,
    predict_baselines,
)

VECTORS = {"a1": [1.0, 0.0], "a2": [0.0, 1.0], "b1": [-1.0, 0.0], "b2": [0.0, -1.0], "q": [-0.6, -0.8]}
WORDS = {
    "a1": ("fur", "paw"),
    "a2": ("claw",),
    "b1": ("wheel",),
    "b2": ("road",),
    "q": ("claw", "fur", "wheel"),
}
IMAGES = {Path(name): ImageWords(WORDS[name], torch.tensor(vector)) for name, vector in VECTORS.items()}
SHOTS = tuple(LabelledImage(Path(name), name[0]) for name in ("b1", "a1", "a2", "b2"))
EPISODE = Episode(SHOTS, LabelledImage(Path("q"), "b"))


def test_nearest_prototype_is_the_nearest_mean_vector() -> None:
    assert nearest_prototype(EPISODE, IMAGES) == "b"


def test_shared_words_are_averaged_over_the_images_of_a_label() -> None:
    assert most_shared_words(EPISODE, IMAGES) == "a"
    assert most_shared_words(Episode(SHOTS[:2], EPISODE.query), IMAGES) == "b"  # one each: the first


def test_majority_is_the_most_frequent_label_and_ties_go_to_the_first() -> None:
    assert majority(EPISODE) == "b"
    assert majority(Episode(SHOTS[:3], EPISODE.query)) == "a"


def test_nearest_name_is_the_nearest_text_vector() -> None:
    names = {"a": torch.tensor([0.0, 1.0]), "b": torch.tensor([-1.0, 0.0])}
    assert nearest_name(EPISODE, IMAGES, names) == "b"
    assert predict_baselines(EPISODE, IMAGES, names)["zero-shot"] == "b"
    assert "zero-shot" not in predict_baselines(EPISODE, IMAGES)


def test_the_vector_of_a_name_is_that_of_its_text(pipeline: Pipeline) -> None:
    vectors = name_vectors(pipeline.tokenizer.joint_encoder, ["hat", "dress"])
    torch.testing.assert_close(vectors["hat"], pipeline.tokenizer.joint_encoder.encode_texts(["hat"])[0])
    assert list(vectors) == ["hat", "dress"]
