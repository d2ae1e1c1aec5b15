"""a token map with holes, or a damaged one ──► the tokens that a tuned LLM tells, all in one answer.

The same prompt as in `v2l train-lora`; see `v2l/prompts/whole_map.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from v2l.llm import FrozenLLM, GenerationConfig
from v2l.prompts.whole_map import whole_map_prompt
from v2l.tasks.asking import RestorationSettings, Told
from v2l.tasks.stack import Stack


def reserved_id(llm: FrozenLLM) -> int:
    """The token id that stands where a token is missing: the first mark of the LLM, which is no word."""
    return min(llm.special_ids)


def tell_hidden(stack: Stack, ids: Tensor, hidden: Tensor, words: Sequence[str], settings: RestorationSettings) -> list[list[Told]]:
    """Tell the hidden cells of a token map; returns a log for each candidate.

    Args:
        stack: gives the tuned LLM and the ids that it may use.
        ids: (h, w) int64; the hidden ones are never read.
        hidden: (h, w) bool.
        words: global words of the picture.
        settings: candidates, temperature, top_k and seed are used.
    """
    shown = ids.masked_fill(hidden, reserved_id(stack.llm)).flatten().tolist()
    cells = tuple(hidden.flatten().nonzero().flatten().tolist())
    return tell_map(stack, "mask", words, shown, cells, settings)


def tell_map(
    stack: Stack, kind: str, words: Sequence[str], shown: Sequence[int], cells: tuple[int, ...], settings: RestorationSettings
) -> list[list[Told]]:
    """Tell some cells of a token map after one prompt; returns a log for each candidate.

    Args:
        stack: gives the tuned LLM and the ids that it may use.
        kind: mask, deblur, unshift or unrotate.
        words: global words of the picture.
        shown: h · w token ids, as the prompt shows them.
        cells: raster numbers of the cells to tell.
        settings: candidates, temperature, top_k and seed are used.

    Raises:
        V2LError: prompt and answer together are longer than the LLM's context.
    """
    allowed = frozenset(stack.tokenizer.local_codebook.token_ids.tolist())
    config = GenerationConfig(len(cells), settings.temperature, settings.top_k, seed=settings.seed, allowed=allowed, ends=False)
    answers = stack.llm.generate([whole_map_prompt(kind, words, shown)] * settings.candidates, config)
    return [[Told(cells, tuple(shown), new.ids, new.loglikelihood)] for new in answers]
