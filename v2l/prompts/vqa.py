"""words or embeddings of an image and a question about it ──► the prompt that a one-word answer completes.

`paper` follows V2L Tokenizer, arXiv 2403.07874, section 4.1; its instruction and spacing are unconfirmed.
`tuned` was chosen by experiments with the embedded LLM, see docs/experiments/describe.md.
An answer ends with its full stop or line.
"""

from __future__ import annotations

from collections.abc import Sequence

from v2l.errors import V2LError
from v2l.prompts.dialogue import Dialogue, Exchange, Style, as_words
from v2l.prompts.embeddings import Embeddings

STYLES = {
    "paper": Style(
        instruction="Answer the question with a single word based on the condition.\n",
        ask="Condition: {words}. Question: {question}. Answer:",
        after="\n",
        separator=" ",
        n_words=21,
        n_examples=10,
        choice="nearest",
    ),
    "tuned": Style(
        instruction=(
            "Answer each question about a photo with one word. "
            "The words tell what is in the photo, the most important first.\n\n"
        ),
        ask="Words: {words}\nQuestion: {question}\nAnswer:",
        after="\n\n",
        separator=", ",
        n_words=5,
        n_examples=10,
        choice="nearest",
    ),
}
STOP = (".", "\n")
MAX_NEW_TOKENS = 8


def vqa_dialogue(
    examples: Sequence[Exchange],
    words: Sequence[str] | Embeddings,
    question: str,
    style: Style = STYLES["tuned"],
) -> Dialogue:
    """The dialogue that the answer to a question about an image completes.

    Args:
        examples: images, each with a question and its answer.
        words: the words or the embeddings of the image.
        question: one line.
        style: how the dialogue is written.

    Raises:
        V2LError: the question is empty.
    """
    return Dialogue(style, tuple(examples), Exchange(as_words(words), check_question(question)))


def check_question(question: str) -> str:
    """The question on one line.

    Raises:
        V2LError: it is empty.
    """
    line = " ".join(question.split())
    if not line:
        raise V2LError("got an empty question", "a question about the image", 'v2l vqa IMAGE "What is it?"')
    return line
