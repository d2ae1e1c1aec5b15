"""a group of images in order ──► a short story about them, which the frozen LLM writes from their words."""

from __future__ import annotations

import re
from dataclasses import dataclass

from v2l.errors import V2LError
from v2l.llm import GenerationConfig
from v2l.llm.base import LanguageModel
from v2l.prompts.story import STYLE, TOKENS_A_SENTENCE, story_dialogue
from v2l.tasks.comparison.group import Group

SENTENCE_END = re.compile(r"(?<=[.!?])\s")


@dataclass(frozen=True)
class StorySettings:
    """How a story is written.

    Attributes:
        words: words of each image in the prompt.
        temperature: 0 is greedy; above 0 the story is sampled.
        seed: of the sampling.
    """

    words: int = STYLE.n_words
    temperature: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.words < 1 or self.temperature < 0:
            raise V2LError(
                f"got {self.words} words an image and the temperature {self.temperature}",
                "1 word and more, a temperature of 0 and more",
            )


def write_story(llm: LanguageModel, group: Group, settings: StorySettings) -> str:
    """The story, as many sentences as the group has images at most.

    Raises:
        V2LError: the prompt is longer than the LLM's context.
    """
    lists = [image.words[: settings.words] for image in group.images]
    config = GenerationConfig(
        TOKENS_A_SENTENCE * len(lists), temperature=settings.temperature, seed=settings.seed
    )
    (text,) = llm.write_answers([story_dialogue(lists)], config)
    return first_sentences(text, len(lists))


def first_sentences(text: str, count: int) -> str:
    """The first whole sentences of a text on one line; a text without a whole sentence stays as it is."""
    line = " ".join(text.split())
    sentences = SENTENCE_END.split(line)
    if len(sentences) > 1 and not line.endswith((".", "!", "?", '"')):
        sentences.pop()  # the last one was cut off
    return " ".join(sentences[:count])
