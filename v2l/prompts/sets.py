"""soft tokens of several images ──► the prompt that a sentence about all of them completes, and the sentence.

Training and use share these lines, because an adapter knows only the prompt that it was trained with. Each
prompt begins with an example in words, from which the LLM knows the form of the sentence before any training.
"""

from __future__ import annotations

from collections.abc import Sequence

from v2l.prompts.embeddings import Embeddings
from v2l.prompts.prompt import Piece, Prompt
from v2l.prompts.soft import phrase_of

ENDS = {"common": "All show", "difference": "Change:", "story": "Story:"}
EXAMPLES = {
    "common": "Image 1: dog\nImage 2: spoon\nImage 3: dog\nAll show a dog.\n\n",
    "difference": (
        "Image 1: table, spoon\nImage 2: table\nChange: a spoon was removed.\n\n"
        "Image 1: road\nImage 2: road, dog\nChange: a dog was added.\n\n"
    ),
    "story": (
        "Image 1: dog\nImage 2: spoon\nImage 3: road\nStory: First a dog, then a spoon, then a road.\n\n"
    ),
}


def set_prompt(task: str, images: Sequence[Embeddings]) -> Prompt:
    """The prompt of a task, a key of `ENDS`, behind its example; its continuation begins with a space."""
    pieces: list[Piece] = [EXAMPLES[task]]
    for number, image in enumerate(images, start=1):
        pieces += [f"Image {number}:", image, "\n"]
    return Prompt((*pieces, ENDS[task]))


def set_sentence(task: str, labels: Sequence[str], change: str = "") -> str:
    """What a set shows.

    Args:
        task: a key of `ENDS`.
        labels: common: the shared class; difference: the class of the object; story: the class of each image.
        change: difference: added or removed.
    """
    if task == "common":
        return f"{phrase_of(labels[0])}."
    if task == "difference":
        return f"{phrase_of(labels[0])} was {change}."
    first, *others = map(phrase_of, labels)
    return f"First {first}, {', '.join(f'then {other}' for other in others)}."
