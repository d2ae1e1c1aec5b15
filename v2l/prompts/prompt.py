"""pieces of text, token ids and embeddings ──► one prompt, as plain data.

Each piece is encoded by itself, as in the official prompts, and the results are concatenated. A visual token
stays a token id. It is never decoded and encoded again, because that need not give the same id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from v2l.errors import V2LError
from v2l.prompts.embeddings import Embeddings

Piece = str | tuple[int, ...] | Embeddings


@dataclass(frozen=True)
class Prompt:
    """A prompt as a sequence of pieces.

    Attributes:
        pieces: a string is text, which is encoded by itself; a tuple holds token ids; `Embeddings` holds
            vectors in the LLM's input-embedding space.
        own_spaces: whether a text that begins with a space gets a second one from SentencePiece, as in the
            official prompts. SentencePiece puts a space in front of every text. Most tokenizers of today add
            it only where there is none.
    """

    pieces: tuple[Piece, ...]
    own_spaces: bool = False

    def __add__(self, other: Prompt) -> Prompt:
        return Prompt(self.pieces + other.pieces, self.own_spaces or other.own_spaces)

    @property
    def embeddings(self) -> tuple[Embeddings, ...]:
        """The pieces that are embeddings, in their order."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Embeddings))

    def text(self, decode: Callable[[Iterable[int]], str]) -> str:
        """The prompt as people read it; embeddings are shown as "<16 image embeddings>".

        Args:
            decode: turns token ids into text.
        """
        return "".join(decode(piece) if isinstance(piece, tuple) else str(piece) for piece in self.pieces)


def refuse_embeddings(prompt: Prompt, reader: str) -> None:
    """Refuse a prompt with embeddings, for a reader that takes none.

    Args:
        prompt: any prompt.
        reader: who would read it, for the error.

    Raises:
        V2LError: the prompt holds embeddings.
    """
    if prompt.embeddings:
        raise V2LError(
            f"{reader} takes no embeddings, and the prompt holds {prompt.embeddings[0]}",
            "a prompt of words; only a local LLM reads embeddings",
            "--tokenizer v2l",
        )
