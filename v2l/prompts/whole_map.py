"""a first guess of a token map ──► the prompt of a tuned LLM, whose continuation is the map, every token behind its guess.

A whole picture stands in one row of pairs, guess and token: what a token is made from is the token before it, and what is around it comes
before. Source: our design for the masked restoration of the V2L Tokenizer, arXiv 2403.07874, section 4.3, whose recipe is not published.
"""

from __future__ import annotations

from collections.abc import Sequence

from v2l.prompts.prompt import Prompt

INSTRUCTIONS = {
    "mask": "Tell the missing tokens of a picture.\n",
    "deblur": "Tell the sharp tokens of a blurred picture.\n",
    "unshift": "Tell the tokens of a shifted picture in their places.\n",
    "unrotate": "Tell the tokens of a turned picture in their places.\n",
}


def whole_map_prompt(kind: str) -> Prompt:
    """What stands before the pairs of a picture.

    Args:
        kind: a key of `INSTRUCTIONS`.
    """
    return Prompt((INSTRUCTIONS[kind],))


def paired(guesses: Sequence[int], tokens: Sequence[int]) -> list[int]:
    """Guesses and as many tokens in raster order ──► both in turn: the token of cell i stands at place 2 i + 1, behind its guess."""
    return [token_id for pair in zip(guesses, tokens, strict=True) for token_id in pair]
