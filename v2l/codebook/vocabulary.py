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


class NamedLLM(Protocol):
    """The identity of an LLM, which a codebook records."""

    @property
    def name(self) -> str:
        """The name that loads the LLM again."""
        ...

    @property
    def fingerprint(self) -> str:
        """sha256 of its vocabulary."""
        ...


class LanguageTokens(Protocol):
    """The interface of an LLM's tokenizer that a codebook needs."""

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids."""
        ...

    @property
    def special_ids(self) -> frozenset[int]:
        """Control tokens, which are no text."""
        ...

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
        aliases: for each usable id, the other ids that the encoder reads as the same text.
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
    """Whether a token occurs only inside words ("issance").

    Such a token has no space in front, and begins with a letter of a script with upper and lower case. These
    scripts put spaces between words. In scripts without spaces (Chinese, Thai) a token without a space may be
    a word, so it is no fragment.
    """
    return not surface.startswith(" ") and surface[:1].lower() != surface[:1].upper()


def read_vocabulary(
    tokens: LanguageTokens, read_by_encoder: Callable[[Sequence[str]], list[tuple[int, ...]]]
) -> Vocabulary:
    """Find the usable ids of an LLM: those that are text, and one id for each distinct reading.

    Args:
        tokens: the LLM's tokenizer.
        read_by_encoder: the joint encoder's `tokenize_texts`; ids with equal readings are aliases of the
            lowest of them.
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
