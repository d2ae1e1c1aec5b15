"""a tokenizer + what a command needs of it ──► nothing, or one line that names the members that can do it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from v2l.errors import V2LError
from v2l.tokenizers.registry import NEEDS, member_named, tokenizer_names

if TYPE_CHECKING:
    from v2l.tokenizers.contract import ImageTokenizer


def gives(tokenizer: ImageTokenizer, need: str) -> bool:
    """Whether a tokenizer gives what is needed, a key of `registry.NEEDS`."""
    return need in member_named(tokenizer.NAME).gives


def require(tokenizer: ImageTokenizer, need: str, command: str) -> None:
    """Refuse a tokenizer that cannot do what a command needs.

    Args:
        tokenizer: any member of the family.
        need: a key of `registry.NEEDS`.
        command: who needs it ("v2l inpaint"), for the error line.

    Raises:
        V2LError: it does not give this; the line names the members that do.
    """
    if not gives(tokenizer, need):
        raise refusal(tokenizer.NAME, need, command)


def require_words(tokenizer: ImageTokenizer, command: str) -> None:
    """`require` words for whole images: few-shot classification, captions, question answering."""
    require(tokenizer, "words", command)


def require_grid_codes(tokenizer: ImageTokenizer, command: str) -> None:
    """`require` one token id of the LLM for each cell of a grid: inpainting and the other restorations."""
    require(tokenizer, "grid codes", command)


def require_decoder(tokenizer: ImageTokenizer, command: str) -> None:
    """`require` a way from tokens back to images."""
    require(tokenizer, "decoder", command)


def refusal(name: str, need: str, command: str) -> V2LError:
    """The one line for a tokenizer that does not give what a command needs."""
    able = tokenizer_names(need)
    return V2LError(
        f"{command} needs {NEEDS[need]}, which the tokenizer {name!r} does not have",
        ", ".join(able) or "none of the registered tokenizers has this",
        f"--tokenizer {able[0]}" if able else "",
    )
