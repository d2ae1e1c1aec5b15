"""a first guess of a token map ──► the map that a tuned LLM tells, all in one answer.

The same prompt as in `v2l train-lora`; see `v2l/prompts/whole_map.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from v2l.llm import GenerationConfig, Places
from v2l.prompts.whole_map import whole_map_prompt
from v2l.tasks.asking import Choices, RestorationSettings, Told
from v2l.tasks.stack import Stack


def tell_map(stack: Stack, kind: str, seen: Sequence[int], choices: Choices, settings: RestorationSettings) -> list[list[Told]]:
    """Tell some cells of a token map after one prompt; returns a log for each candidate.

    Args:
        stack: gives the tuned LLM and the ids that it may use.
        kind: mask, deblur, unshift or unrotate.
        seen: h · w token ids in raster order; those of the cells to tell are not looked at.
        choices: of every cell to tell the ids that may be told; the first is its guess. A palette of 0 allows all.
        settings: candidates, temperature, top_k, seed and palette are used.

    Raises:
        V2LError: prompt and answer together are longer than the LLM's context.
    """
    guesses = [choices[cell][0] if cell in choices else token_id for cell, token_id in enumerate(seen)]
    codebook = stack.tokenizer.local_codebook.token_ids
    allowed = [choices.get(cell, [guess]) if settings.palette or cell not in choices else codebook for cell, guess in enumerate(guesses)]
    places = Places(place for guess, may in zip(guesses, allowed, strict=True) for place in ([guess], may))
    config = GenerationConfig(2 * len(guesses), settings.temperature, settings.top_k, seed=settings.seed, allowed=places, ends=False)
    answers = stack.llm.generate([whole_map_prompt(kind)] * settings.candidates, config)
    cells = tuple(choices)
    return [[Told(cells, tuple(guesses), tuple(new.ids[2 * cell + 1] for cell in cells), new.loglikelihood)] for new in answers]
