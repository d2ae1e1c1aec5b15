"""pieces of text and token ids ──► one prompt, as plain data.

Each piece is encoded by itself and the ids are concatenated (method of the official prompts); a visual token is its id and is
never written out as text and encoded again, since that need not give the id back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

Piece = str | tuple[int, ...]


@dataclass(frozen=True)
class Prompt:
    """A prompt as segments.

    Attributes:
        pieces: a string is text to be encoded by itself, a tuple holds token ids as they are.
        own_spaces: SentencePiece puts a space in front of every text, also of one that begins with a space; most tokenizers of today do
            that only where there is none. True asks for SentencePiece's own way, which the official prompts were made with.
    """

    pieces: tuple[Piece, ...]
    own_spaces: bool = False

    def __add__(self, other: Prompt) -> Prompt:
        return Prompt(self.pieces + other.pieces, self.own_spaces or other.own_spaces)

    def text(self, decode: Callable[[Iterable[int]], str]) -> str:
        """The prompt as people read it; `decode` turns token ids into text."""
        return "".join(piece if isinstance(piece, str) else decode(piece) for piece in self.pieces)
