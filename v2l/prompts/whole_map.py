"""a token grid with masked or corrupted cells ──► one prompt; an adapted LLM predicts each of them in it.

Every cell occurs once, row by row, so that one pass predicts a whole grid. After the guess for a cell, the
LLM's next token is its prediction. A visual token is its token id. Source: V2L Tokenizer, arXiv 2403.07874,
section 4.3, masked restoration with a tuned LLM; the layout is ours, because the paper's is not published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from v2l.prompts.prompt import Piece, Prompt

ROW, MASK = "\n", " ?"


class MapPrompt(NamedTuple):
    """A prompt and the places of its predictions."""

    prompt: Prompt
    answers: tuple[int, ...]  # numbers of the pieces after which a cell is predicted, in raster order


def map_prompt(seen: Sequence[int | None], expected: Mapping[int, int], width: int) -> MapPrompt:
    """The prompt of a token grid.

    Args:
        seen: h · w token ids in raster order, corrupted or clean; None where a cell is masked.
        expected: cell to predict ──► a guess, the token id with the highest prior.
        width: w.
    """
    pieces: list[Piece] = []
    answers = []
    for cell, token_id in enumerate(seen):
        if cell % width == 0:
            pieces.append(ROW)
        pieces.append(MASK if token_id is None else (token_id,))
        if cell in expected:
            answers.append(len(pieces))
            pieces.append((expected[cell],))
    return MapPrompt(Prompt(tuple(pieces)), tuple(answers))
