"""words or embeddings of an image ──► the prompt that a caption completes.

`paper` follows V2L Tokenizer, arXiv 2403.07874, section 4.1; its instruction and spacing are unconfirmed.
`tuned` was chosen by experiments with the embedded LLM, see docs/experiments/describe.md.
A caption ends with its sentence.
"""

from __future__ import annotations

from collections.abc import Sequence

from v2l.prompts.dialogue import Dialogue, Exchange, Style, as_words
from v2l.prompts.embeddings import Embeddings

STYLES = {
    "paper": Style(
        instruction="Generate a caption sentence based on words describing an image.\n",
        ask="Input: {words}\noutput:",
        after="\n",
        separator=" ",
        n_words=21,
        n_examples=10,
        choice="nearest",
    ),
    "tuned": Style(
        instruction=(
            "Write one short sentence that describes a photo. "
            "The words tell what is in the photo, the most important first.\n\n"
        ),
        ask="Words: {words}\nCaption:",
        after="\n\n",
        separator=", ",
        n_words=5,
        n_examples=3,
        choice="nearest",
        turn=(
            "Write one short sentence that describes a photo. "
            "These words tell what is in the photo, the most important first: {words}"
        ),
    ),
}
STOP = (".", "\n")
MAX_NEW_TOKENS = 32


def caption_dialogue(
    examples: Sequence[Exchange], words: Sequence[str] | Embeddings, style: Style = STYLES["tuned"]
) -> Dialogue:
    """The dialogue that a caption of an image completes.

    Args:
        examples: images with their captions.
        words: the words or the embeddings of the image.
        style: how the dialogue is written.
    """
    return Dialogue(style, tuple(examples), Exchange(as_words(words)))
