"""subwords ──► bigrams and trigrams, by the frozen LLM's own likeliest continuations of "a photo of {…}".

The LLM comes in as a value. Source: V2L Tokenizer, arXiv 2403.07874, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from v2l.codebook.vocabulary import LanguageTokens, reason_to_drop
from v2l.prompts.prompt import Prompt

# Words that ask for another one: an n-gram that ends in one of them ("clothing that") says no more than without it.
DANGLING = frozenset(
    {"a", "an", "and", "are", "as", "at", "by", "for", "from", "in", "into", "is", "its", "of", "on"}
    | {"or", "that", "the", "their", "to", "was", "were", "which", "with"}
)


@dataclass(frozen=True)
class Gram:
    """A candidate of the global codebook: one, two or three tokens.

    Attributes:
        ids: its token ids.
        surface: their texts joined, the space in front kept.
    """

    ids: tuple[int, ...]
    surface: str

    @property
    def order(self) -> int:
        """1 subword, 2 bigram, 3 trigram."""
        return len(self.ids)


def opening_prompt(gram: Gram, opening: str) -> Prompt:
    """The prompt whose continuation is asked for: "a photo of {}" with the gram.

    A token that begins with its own space follows as an id; one that does not is written out after a space, since in
    byte-level vocabularies a space belongs to the piece behind it.

    Args:
        gram: what is continued.
        opening: "{}", or words before " {}".
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
) -> tuple[list[Gram], int]:
    """Lengthen each gram by its continuations.

    Args:
        grams: what was continued.
        tokens: the LLM's tokenizer.
        continuations: next token ids of each gram, all different.
        words_only: whether punctuation ends a gram; otherwise all that is text follows it.

    Returns:
        The longer grams, and how many continuations made none (end of text, newline, punctuation).
    """
    longer: list[Gram] = []
    for gram, token_ids in zip(grams, continuations, strict=True):
        for token_id in token_ids:
            surface = tokens.surface(token_id)
            if reason_to_drop(tokens, token_id) is None and (is_word_like(surface) or not words_only):
                longer.append(Gram((*gram.ids, token_id), gram.surface + surface))
    return longer, sum(map(len, continuations)) - len(longer)


def dangles(gram: Gram) -> bool:
    """Whether a bigram or trigram ends in a word that asks for another one."""
    return gram.order > 1 and gram.surface.split()[-1].casefold() in DANGLING


def is_word_like(continuation: str) -> bool:
    """Whether a continuation makes a longer word or phrase: only letters, digits, and the marks inside words."""
    if "\n" in continuation or not any(map(str.isalnum, continuation)):
        return False
    return all(character.isalnum() or character in "-'’" for character in continuation.strip())
