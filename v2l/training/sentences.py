"""the name of a class, its definition and its kind ──► sentences about an image of it, in varied templates.

A model that is trained on these sentences knows such sentences only: it names things and says what kind they
are. Definitions are WordNet's, as ImageNet-21k carries them; the kind is the head noun of the definition.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from random import Random

from v2l.codebook.lexicon import LexiconEntry, synset_entries
from v2l.codebook.variety import family
from v2l.prompts.choices import with_article
from v2l.prompts.soft import NAMING, phrase_of

CAPTIONS = (NAMING, NAMING, "A picture of {a}.", "This is {a}.", "There is {a} in the photo.", "{A}.")
WITH_KIND = ("A photo of {a}, which is {kind}.", "{A}, a kind of {bare}.")
WITH_DEFINITION = ("{A}: {definition}.",)
QUESTIONS = ("What is it?", "What is in the photo?", "What does the photo show?")
LONGEST_DEFINITION = 12  # words
QUESTION_SHARE = 0.25
CLAUSE = re.compile(
    r"[,;:(]| (?:that|which|with|having|used|for|in|on|from|by|made|worn|hanging|related|similar|common) "
)
MANY = re.compile(r"^(?:any|one) of (?:several|various|numerous|many)? ?")


@dataclass(frozen=True)
class Sentence:
    """What is said about an image.

    Attributes:
        text: a caption, or the answer; one sentence with its full stop.
        question: empty for a caption.
    """

    text: str
    question: str = ""


def sentence_about(label: str, others: Sequence[str], random: Random) -> Sentence:
    """Draw a sentence about an image of a class.

    Args:
        label: name of the class.
        others: names of other classes, for questions that are answered with no; may be empty.
        random: draws the template.
    """
    if random.random() < QUESTION_SHARE:
        return _question_about(label, others, random)
    definition = definition_of(label)
    kind = kind_of(definition)
    templates = list(CAPTIONS)
    if kind:
        templates += WITH_KIND
    if definition and len(definition.split()) <= LONGEST_DEFINITION:
        templates += WITH_DEFINITION
    named = phrase_of(label)
    return Sentence(
        random.choice(templates).format(
            a=named, A=named[0].upper() + named[1:], kind=with_article(kind), bare=kind, definition=definition
        )
    )


def caption_sentence(caption: str) -> Sentence:
    """A caption of people as a sentence: one line, with a full stop at its end."""
    text = " ".join(caption.split())
    return Sentence(text if text.endswith((".", "!", "?")) else f"{text}.")


@cache
def definition_of(label: str) -> str:
    """The definition of a class by its name, up to a semicolon.

    It is empty for a name that is not listed, and for one with several meanings, because the name alone does
    not say which is meant.
    """
    meanings = _meanings().get(family(label), ())
    return meanings[0].definition.split(";")[0].strip() if len(meanings) == 1 else ""


@cache
def kind_of(definition: str) -> str:
    """The head noun of a definition: "large feline of African forests" ──► "feline"; "" without one.

    It is the last word of the first clause that is the name of a synset.
    """
    clause = CLAUSE.split(MANY.sub("", f"{definition} "), maxsplit=1)[0]
    for word in reversed(clause.split(" of ")[0].split()):
        named = [entry.word for entry in _meanings().get(family(word), ())]
        if named and named[0].islower() and named[0].isalpha():
            return named[0]
    return ""


def _question_about(label: str, others: Sequence[str], random: Random) -> Sentence:
    """What is it? or, half of the time with other classes at hand, is it this or that?"""
    if others and random.random() < 0.5:
        asked = random.choice([label, random.choice(others)])
        return Sentence("Yes." if asked == label else "No.", f"Is it {phrase_of(asked)}?")
    named = phrase_of(label)
    return Sentence(f"{named[0].upper()}{named[1:]}.", random.choice(QUESTIONS))


@cache
def _meanings() -> dict[str, tuple[LexiconEntry, ...]]:
    """Family of a lemma ──► its synsets."""
    found: dict[str, tuple[LexiconEntry, ...]] = {}
    for entry in synset_entries():
        found[family(entry.word)] = (*found.get(family(entry.word), ()), entry)
    return found
