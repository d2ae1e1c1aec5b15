"""soft tokens of an image, a question ──► the prompt that an adapter is trained and used with.

Training, captions, answers and scores share these lines, because an adapter knows only the prompt that it was
trained with. Each prompt begins with two examples in words, from which the LLM knows the form of the answer
before any training.
"""

from __future__ import annotations

from collections.abc import Sequence

from v2l.prompts.choices import with_article
from v2l.prompts.dialogue import Dialogue, Exchange, Style
from v2l.prompts.embeddings import Embeddings
from v2l.prompts.prompt import Prompt

NAMING = "A photo of {a}."
NO_REPEAT = 3  # no three tokens come twice in a text; without this some say "a photo of a photo of a photo"
NO_PLURAL = ("ss", "us", "is")  # endings of nouns that are one thing: grass, octopus, iris
CAPTION = Style(
    instruction=(
        "Image: dog, grass\nCaption: A photo of a dog.\n\nImage: spoon\nCaption: A photo of a spoon.\n\n"
    ),
    ask="Image: {words}\nCaption:",
    after="\n\n",
    separator=", ",
    n_words=16,
    n_examples=0,
    choice="nearest",
)
ANSWER = Style(
    instruction=(
        "Image: dog, grass\nQuestion: What is it?\nAnswer: A dog.\n\n"
        "Image: spoon\nQuestion: Is it a dog?\nAnswer: No.\n\n"
    ),
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


def naming_sentence(label: str) -> str:
    """The sentence by which a class is scored."""
    return NAMING.format(a=phrase_of(label))


def naming_prompt(supports: Sequence[tuple[Embeddings, str]], query: Embeddings | tuple[str, ...]) -> Prompt:
    """The prompt that the sentence of the query's class completes, after labelled images.

    Args:
        supports: labelled images.
        query: soft tokens of an image, or its words, which are read in the same prompt for comparison.
    """
    examples = tuple(Exchange(image, answer=naming_sentence(label)) for image, label in supports)
    return Dialogue(CAPTION, examples, Exchange(query)).prompt


def phrase_of(label: str) -> str:
    """A name behind its article; a plural has none: "a beaver", "airplanes"."""
    is_plural = label.endswith("s") and not label.endswith(NO_PLURAL)
    return label if is_plural else with_article(label)
