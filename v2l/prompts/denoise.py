"""windows of visual tokens, corrupted or partly masked ──► the prompt that the clean tokens continue.

A visual token is a token id of the LLM and occurs in the prompt as that id. Source: V2L Tokenizer, arXiv
2403.07874, section 4.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from v2l.prompts.prompt import Piece, Prompt
from v2l.prompts.wording import DENOISE, check_wording

INSTRUCTION = "Learning a new language and predict the {} tokens following the examples.\n"
INSTRUCTIONS = {"paper": INSTRUCTION, "official": INSTRUCTION, "tuned": "\n"}


class Window(NamedTuple):
    """One example: the visible or corrupted tokens, and the tokens to predict from them."""

    given: tuple[int, ...]
    missing: tuple[int, ...]


def denoise_examples(
    examples: Sequence[tuple[Sequence[int], Sequence[int]]], n_predict: int, wording: str = "paper"
) -> Prompt:
    """The beginning of the prompt: instruction and examples, which many queries share.

    Args:
        examples: pairs of given and missing ids.
        n_predict: the number of tokens in the instruction.
        wording: paper, official or tuned. `tuned` is a table with one line for each example and an arrow
            between the given and the missing ids.

    Raises:
        V2LError: the wording is none of these.
    """
    check_wording(wording)
    marks = DENOISE[wording]
    pieces: list[Piece] = [INSTRUCTIONS[wording].format(n_predict)]
    for given, missing in examples:
        pieces += [marks.before_input, tuple(given), marks.before_output, tuple(missing), marks.after_example]
    return Prompt(tuple(piece for piece in pieces if piece), marks.own_spaces)


def denoise_query(query: Sequence[int], wording: str = "paper") -> Prompt:
    """The end of the prompt: the given ids of the window to predict.

    Raises:
        V2LError: the wording is unknown.
    """
    check_wording(wording)
    marks = DENOISE[wording]
    pieces = (marks.before_input, tuple(query), marks.before_output)
    return Prompt(tuple(piece for piece in pieces if piece), marks.own_spaces)


def denoise_prompt(
    examples: Sequence[tuple[Sequence[int], Sequence[int]]],
    query: Sequence[int],
    n_predict: int,
    wording: str = "paper",
) -> Prompt:
    """The whole prompt: instruction, examples, query.

    Args:
        examples: pairs of given and missing ids.
        query: the given ids of the window to predict.
        n_predict: the number of tokens in the instruction.
        wording: paper, official or tuned.

    Raises:
        V2LError: the wording is none of these.
    """
    return denoise_examples(examples, n_predict, wording) + denoise_query(query, wording)
