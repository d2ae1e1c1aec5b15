"""texts and words of images, in the order of a chat's turn ──► one text that any LLM can read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ShownImage:
    """One image of a chat, as the LLM reads it.

    Attributes:
        number: from 1, in the order of the whole chat.
        words: as a prompt writes them, the best first.
    """

    number: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        """The image as a line, in the place where it stood."""
        return f"(Image {self.number} shows: {', '.join(self.words)})"


def turn_text(parts: Sequence[str | ShownImage]) -> str:
    """The parts of one turn, one below the other."""
    return "\n".join(str(part) for part in parts)
