"""LLM vocabulary ──► the token ids that are words, their surfaces, and the reasons for dropping the others.

No id is dropped silently: every id is either selectable or counted under one reason. Source: V2L
Tokenizer, arXiv 2403.07874, section 3.1; the duplicates are why a codebook keeps one id per distinct reading
of the encoder.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

REPLACEMENT = "\ufffd"  # what an incomplete UTF-8 byte sequence decodes to
BYTE = re.compile(r"<0x[0-9A-F]{2}>")  # SentencePiece's spelling of one byte; alone it may read like a letter
UNUSED = re.compile(
    r"\W+(unused|reserved|extra|placeholder|dummy|control)\w*\d\W+", re.IGNORECASE
)  # <unused7>, <|reserved_special_token_7|>


class LanguageTokens(Protocol):
    """The interface of an LLM's tokenizer that a codebook needs."""

    vocabulary_size: int
    special_ids: frozenset[int]

    def piece(self, token_id: int) -> str | None:
        """The token as the tokenizer's file writes it; None for an id that it leaves out."""
        ...

    def surface(self, token_id: int) -> str:
        """The text of one token with the space in front of it, if it has one."""
        ...


@dataclass(frozen=True)
class Vocabulary:
    """The usable token ids of an LLM.

    Attributes:
        ids: token ids that may be chosen, ascending.
        surfaces: their texts, each with its space in front where the token has one.
        aliases: for each usable id, the other ids that the encoder reads just the same.
        fragments: usable ids that never begin a word, in scripts with spaces; see `is_fragment`.
        dropped: how many ids are not usable, by reason.
    """

    ids: tuple[int, ...]
    surfaces: tuple[str, ...]
    aliases: tuple[tuple[int, ...], ...]
    fragments: frozenset[int]
    dropped: dict[str, int]

    def __len__(self) -> int:
        return len(self.ids)


def reason_to_drop(tokens: LanguageTokens, token_id: int) -> str | None:
    """Why a token is no word: `unused`, `control`, `byte`, `whitespace`, or None when it is one."""
    piece = tokens.piece(token_id)
    if not piece or UNUSED.fullmatch(piece):
        return "unused"
    if token_id in tokens.special_ids:
        return "control"
    return "byte" if BYTE.fullmatch(piece) else reason_no_text(tokens.surface(token_id))


def reason_no_text(surface: str) -> str | None:
    """Why a surface is no word: `byte`, `whitespace`, `control`, or None when it is one."""
    if REPLACEMENT in surface:
        return "byte"
    if not surface.strip():
        return "whitespace"
    return None if surface.strip().isprintable() else "control"


def is_fragment(surface: str) -> bool:
    """Whether a token only ever stands inside a word ("issance"): no space in front, and a letter of a script
    with upper and lower case.

    Such scripts put spaces between words; where words have none (Chinese, Thai), a token without one may well
    be a word.
    """
    return not surface.startswith(" ") and surface[:1].lower() != surface[:1].upper()


def read_vocabulary(
    tokens: LanguageTokens, read_by_encoder: Callable[[Sequence[str]], list[tuple[int, ...]]]
) -> Vocabulary:
    """Find the usable ids of an LLM: real text, and one id per distinct reading.

    Args:
        tokens: the LLM's tokenizer.
        read_by_encoder: the joint encoder's `tokenize_texts`; ids whose surfaces it reads alike are aliases
            of the lowest.
    """
    reasons = [reason_to_drop(tokens, token_id) for token_id in range(tokens.vocabulary_size)]
    candidates = [token_id for token_id, reason in enumerate(reasons) if reason is None]
    dropped = Counter(reason for reason in reasons if reason is not None)
    surfaces = {token_id: tokens.surface(token_id) for token_id in candidates}
    readings = read_by_encoder([surface.strip() for surface in surfaces.values()])
    aliases: dict[tuple[int, ...], list[int]] = {}
    for token_id, reading in zip(candidates, readings, strict=True):
        if reading:
            aliases.setdefault(reading, []).append(token_id)
        else:
            dropped["unread by the encoder"] += 1
    dropped["duplicate"] = sum(len(group) - 1 for group in aliases.values())
    groups = sorted(aliases.values())  # the lowest id of each group leads it
    ids = tuple(group[0] for group in groups)
    fragments = frozenset(group[0] for group in groups if all(is_fragment(surfaces[i]) for i in group))
    return Vocabulary(
        ids,
        tuple(surfaces[i] for i in ids),
        tuple(tuple(group[1:]) for group in groups),
        fragments,
        dict(dropped),
    )
