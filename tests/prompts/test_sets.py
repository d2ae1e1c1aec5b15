"""The prompt of a set shows its form in words before it shows the images."""

import pytest
import torch

from v2l.prompts.embeddings import Embeddings
from v2l.prompts.sets import ENDS, EXAMPLES, set_prompt, set_sentence


@pytest.mark.parametrize("task", sorted(ENDS))
def test_the_prompt_is_the_example_the_images_and_the_beginning_of_the_answer(task: str) -> None:
    images = [Embeddings(torch.zeros(4, 8)), Embeddings(torch.ones(4, 8))]
    example, *pieces = set_prompt(task, images).pieces
    assert example == EXAMPLES[task]
    assert pieces == ["Image 1:", images[0], "\n", "Image 2:", images[1], "\n", ENDS[task]]


@pytest.mark.parametrize(
    ("task", "labels", "change"),
    [
        ("common", ["dog"], ""),
        ("difference", ["dog"], "added"),
        ("difference", ["spoon"], "removed"),
        ("story", ["dog", "spoon", "road"], ""),
    ],
)
def test_an_example_ends_as_a_sentence_that_training_teaches(
    task: str, labels: list[str], change: str
) -> None:
    assert f"\n{ENDS[task]} {set_sentence(task, labels, change)}\n\n" in EXAMPLES[task]
