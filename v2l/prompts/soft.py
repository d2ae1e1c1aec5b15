"""soft tokens of an image, a question ──► the prompt that an adapter is trained and used with.

Training, captions, answers and scores share these two lines, because an adapter knows only the prompt that it
was trained with.
"""

from __future__ import annotations

from v2l.prompts.dialogue import Dialogue, Exchange, Style
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.prompt import Prompt

CAPTION = Style(
    instruction="",
    ask="Image: {words}\nCaption:",
    after="\n\n",
    separator=", ",
    n_words=16,
    n_examples=0,
    choice="nearest",
)
ANSWER = Style(
    instruction="",
    ask="Image: {words}\nQuestion: {question}\nAnswer:",
    after="\n\n",
    separator=", ",
    n_words=16,
    n_examples=0,
    choice="nearest",
)


def soft_prompt(soft: Embeddings, question: str = "") -> Prompt:
    """The prompt that a caption completes, or the answer to a question."""
    return Dialogue(ANSWER if question else CAPTION, (), Exchange(soft, question)).prompt
