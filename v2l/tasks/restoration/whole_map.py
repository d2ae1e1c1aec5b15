"""a token map, some of its cells to be told ──► what the LLM names in all of them, from one pass: for an LLM with an adapter.

The prompt shows what is seen of a cell and what is expected of it; the LLM's next-token probabilities behind that are its answer.
Source: V2L Tokenizer, arXiv 2403.07874, section 4.3, masked restoration with a tuned LLM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from v2l.llm import GenerationConfig, Weighted
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.whole_map import MapPrompt, map_prompt
from v2l.tasks.restoration.token_prediction import CellCandidates, RestorationSettings, WindowPrediction


@dataclass(frozen=True)
class MapQuestion:
    """A whole map.

    Attributes:
        prompt: as the LLM reads it.
        cells: raster numbers of the cells to be told.
        given: for each, the token ids that are shown of it: what is seen, if anything is, and what is expected.
        allowed: for each, the ids that may be told.
    """

    prompt: MapPrompt
    cells: tuple[int, ...]
    given: tuple[tuple[int, ...], ...]
    allowed: tuple[Weighted, ...]


def map_question(
    pipeline: Pipeline,
    seen: Sequence[int | None],
    width: int,
    choices: CellCandidates,
    settings: RestorationSettings,
) -> MapQuestion:
    """Ask for all cells that have choices.

    Args:
        pipeline: gives the ids that there are.
        seen: h · w token ids in raster order; None where nothing is seen.
        width: w.
        choices: what may stand in the cells to be told; the first is what is expected.
        settings: num_candidates and prior_weight.
    """
    expected = {cell: choices[cell].ids[0] for cell in sorted(choices)}
    codebook = pipeline.tokenizer.local_codebook.token_ids
    shown = tuple(
        (expected[cell],) if seen[cell] is None else (seen[cell], expected[cell]) for cell in expected
    )
    allowed = tuple(settings.allowed(choices[cell], codebook) for cell in expected)
    return MapQuestion(map_prompt(seen, expected, width), tuple(expected), shown, allowed)


def tell_map(
    pipeline: Pipeline, question: MapQuestion, settings: RestorationSettings, candidate: int = 0
) -> list[WindowPrediction]:
    """Tell all cells of a map, each by itself.

    Args:
        pipeline: gives the LLM.
        question: the map.
        settings: how a token is chosen.
        candidate: the number of this answer; another one draws otherwise.

    Raises:
        V2LError: the map is longer than the LLM's context.
    """
    seed = settings.seed + candidate * len(question.cells)
    config = GenerationConfig(1, settings.temperature, settings.top_k, seed=seed)
    answers = pipeline.llm.answer(question.prompt.prompt, question.prompt.answers, question.allowed, config)
    told = zip(question.cells, question.given, answers, strict=True)
    return [
        WindowPrediction((cell,), given, answer.ids, answer.loglikelihood) for cell, given, answer in told
    ]
