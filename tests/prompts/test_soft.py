"""The prompts of soft tokens begin with examples in the form that training teaches."""

import torch

from v2l.prompts.embeddings import Embeddings
from v2l.prompts.soft import ANSWER, CAPTION, naming_prompt, naming_sentence, soft_prompt


def test_the_examples_are_what_training_teaches() -> None:
    image = Embeddings(torch.zeros(4, 8))
    caption, answer = soft_prompt(image), soft_prompt(image, "What is it?")
    assert caption.pieces == (CAPTION.instruction, "Image:", image, "\nCaption:")
    assert answer.pieces == (ANSWER.instruction, "Image:", image, "\nQuestion: What is it?\nAnswer:")
    for thing in ("dog", "spoon"):
        assert f"\nCaption: {naming_sentence(thing)}\n\n" in CAPTION.instruction


def test_words_are_read_in_the_prompt_of_soft_tokens() -> None:
    image = Embeddings(torch.zeros(4, 8))
    words = naming_prompt((), ("hat", "wool")).text(str)
    assert words == f"{CAPTION.instruction}Image: hat, wool\nCaption:"
    assert naming_prompt([(image, "hat")], image).pieces.count(image) == 2
