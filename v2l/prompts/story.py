"""words of several images in order ──► the prompt that a short story completes."""

from __future__ import annotations

from collections.abc import Sequence

from v2l.prompts.dialogue import Dialogue, Exchange, Style

STYLE = Style(
    instruction="",
    ask="{words}\n\nStory:",
    after="\n\n",
    separator="\n",
    n_words=3,
    n_examples=0,
    choice="nearest",
    turn=(
        "Write a short story in {question} sentences. Sentence 1 is about photo 1, sentence 2 about photo 2, "
        "and so on. The words say what is in each photo.\n\n{words}"
    ),
)
TOKENS_A_SENTENCE = 40


def story_dialogue(words: Sequence[Sequence[str]], style: Style = STYLE) -> Dialogue:
    """The dialogue that a story about some images completes, one sentence for each image.

    Args:
        words: of each image, in the order of the story.
        style: how the dialogue is written.
    """
    lines = tuple(f"Photo {number}: {', '.join(some)}" for number, some in enumerate(words, start=1))
    return Dialogue(style, (), Exchange(lines, str(len(lines))))
