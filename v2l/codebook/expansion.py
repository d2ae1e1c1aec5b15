"""subwords ──► bigrams and trigrams: the frozen LLM greedily continues "a photo of {subword}".

Greedy continuation: the prompt "a photo of " + subword t1 is continued by the LLM's most probable next token
t2, which gives the bigram (t1, t2). The same step with the bigram gives the trigram (t1, t2, t3). Source: V2L
Tokenizer, arXiv 2403.07874, section 3.1. The LLM is an argument, because `codebook` does not import `llm`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from v2l.codebook.vocabulary import LanguageTokens, reason_to_drop
from v2l.prompts.prompt import Prompt

# An n-gram that ends in one of these words ("clothing that") is incomplete: it says no more than without the
# word.
FUNCTION_WORDS = frozenset(
    {"a", "an", "and", "are", "as", "at", "by", "for", "from", "in", "into", "is", "its", "of", "on"}
    | {"or", "that", "the", "their", "to", "was", "were", "which", "with"}
)


@dataclass(frozen=True)
class Gram:
    """An n-gram, which is a candidate of the global codebook: one, two or three tokens of the LLM.

    Attributes:
        ids: its token ids.
        surface: its text: the texts of its tokens, concatenated; a leading space is kept.
        definition: what it means, from a lexicon; empty for the LLM's own n-grams.
    """

    ids: tuple[int, ...]
    surface: str
    definition: str = ""

    @property
    def word(self) -> str:
        """Its text without outer spaces."""
        return self.surface.strip()

    @property
    def defined(self) -> str:
        """Its text with the definition behind it, if it has one: "beagle, a small short-legged hound"."""
        return f"{self.word}, {self.definition}" if self.definition else self.word

    @property
    def order(self) -> int:
        """n: 1 for a subword, 2 for a bigram, 3 for a trigram."""
        return len(self.ids)


def opening_prompt(gram: Gram, opening: str) -> Prompt:
    """The prompt that the LLM continues: "a photo of {}" with the n-gram in place of the braces.

    In byte-level vocabularies a space belongs to the token behind it. An n-gram whose text begins with a
    space is therefore appended as token ids, directly behind "a photo of". Any other n-gram is inserted as
    text, after the opening's own space.

    Args:
        gram: the n-gram to continue.
        opening: a prompt template: "{}", or words before " {}".
    """
    before = opening.removesuffix("{}").rstrip()
    if gram.surface.startswith(" "):
        return Prompt((before, gram.ids)) if before else Prompt((gram.ids,))
    return Prompt((opening.format(gram.surface),))


def expand(
    grams: Sequence[Gram],
    tokens: LanguageTokens,
    continuations: Sequence[Sequence[int]],
    words_only: bool = True,
) -> tuple[list[Gram], list[str]]:
    """Lengthen each n-gram by its continuations.

    Args:
        grams: G n-grams.
        tokens: the LLM's tokenizer.
        continuations: G sequences of distinct next token ids.
        words_only: accept only continuations that are letters and digits; otherwise every token with text,
            punctuation included.

    Returns:
        The longer n-grams, and the texts of those that were not accepted, because the continuation is the end
        of the text, a newline or punctuation.
    """
    longer: list[Gram] = []
    refused: list[str] = []
    for gram, token_ids in zip(grams, continuations, strict=True):
        for token_id in token_ids:
            surface = tokens.surface(token_id)
            if reason_to_drop(tokens, token_id) is None and (is_word_like(surface) or not words_only):
                longer.append(Gram((*gram.ids, token_id), gram.surface + surface))
            else:
                refused.append(gram.surface + surface)
    return longer, refused


def ends_in_function_word(gram: Gram) -> bool:
    """Whether a bigram or trigram ends in a word like "of" or "that", which needs another word behind it."""
    return gram.order > 1 and gram.surface.split()[-1].casefold() in FUNCTION_WORDS


def is_word_like(continuation: str) -> bool:
    """Whether a continuation extends a word or phrase.

    It must have only letters, digits, hyphens and apostrophes.
    """
    if "\n" in continuation or not any(map(str.isalnum, continuation)):
        return False
    return all(character.isalnum() or character in "-'’" for character in continuation.strip())
