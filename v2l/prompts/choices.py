"""words of an image and some answers ──► prompts whose log-probabilities decide between the answers.

Two ways to let the LLM decide, both without examples:

- the noisy channel (Min et al., arXiv 2108.04106): how probable are the image's words after "A photo of a
  beagle. Words:"?
- the kind: how much more probable is " animal" after "A beagle is a type of" than after "It is a type of"?
  The difference is the pointwise mutual information of word and kind; subtracting the second is the
  calibration of Zhao et al., arXiv 2102.09690.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from v2l.prompts.prompt import Prompt

ANY_KIND = Prompt(("It is a type of",))
# "Is it an animal?", "Is this food?"; not "Is it red?", which asks for no kind.
KIND_QUESTION = re.compile(
    r"is (?:it|this|that) (?:an? (?P<named>[\w'-]+(?: [\w'-]+)?)|(?P<mass>food|clothing|furniture)) ?\?", re.I
)


def with_article(name: str) -> str:
    """A name behind its article: "an apple", "a dog"."""
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def channel_prompt(answer: str) -> Prompt:
    """The prompt after which the words of an image are scored."""
    return Prompt((f"A photo of {with_article(answer)}. Words:",))


def words_continuation(words: Sequence[str]) -> Prompt:
    """The words as the continuation of `channel_prompt`."""
    return Prompt((f" {', '.join(words)}",))


def kind_prompt(word: str) -> Prompt:
    """The prompt after which kinds are scored; the word is in lower case."""
    return Prompt((f"{with_article(word).capitalize()} is a type of",))


def kind_continuation(kind: str) -> Prompt:
    """A kind as the continuation of `kind_prompt`."""
    return Prompt((f" {kind}",))


def kind_asked_for(question: str) -> str | None:
    """The kind in a question like "Is it an animal?"; None for any other question."""
    match = KIND_QUESTION.fullmatch(question.strip())
    return next(filter(None, match.groups())) if match else None
