"""a token map, some of its cells to be told ──► one prompt; behind what is expected of a cell an LLM that is tuned to it names the cell.

Every cell is read once, row by row, so that a map costs one pass. A visual token stands in the prompt as its token id.
Source: V2L Tokenizer, arXiv 2403.07874, section 4.3, masked restoration with a tuned LLM; the layout is ours, the paper's is not published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from v2l.prompts.prompt import Piece, Prompt

ROW, UNSEEN = "\n", " ?"


class MapPrompt(NamedTuple):
    """A prompt and where its answers stand."""

    prompt: Prompt
    answers: tuple[int, ...]  # numbers of the pieces behind which the cells are named, in raster order


def map_prompt(seen: Sequence[int | None], expected: Mapping[int, int], width: int) -> MapPrompt:
    """The prompt of a map.

    Args:
        seen: h · w token ids in raster order; None where nothing is seen.
        expected: cell to be told ──► the token id that is expected there; whatever is seen of such a cell is damaged.
        width: w.
    """
    pieces: list[Piece] = []
    answers = []
    for cell, token_id in enumerate(seen):
        if cell % width == 0:
            pieces.append(ROW)
        pieces.append(UNSEEN if token_id is None else (token_id,))
        if cell in expected:
            answers.append(len(pieces))
            pieces.append((expected[cell],))
    return MapPrompt(Prompt(tuple(pieces)), tuple(answers))
