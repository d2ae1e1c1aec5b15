"""token map with cells to predict ──► predictions of all of them from one pass of an LLM with an adapter.

The prompt shows each cell: its visible or corrupted token, if any, and its most probable candidate. The
prediction is read from the LLM's next-token probabilities behind the candidate. Source: V2L Tokenizer, arXiv
2403.07874, section 4.3, masked restoration with a tuned LLM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from v2l.llm import GenerationConfig, WeightedIds
from v2l.pipeline.pipeline import Pipeline
from v2l.prompts.whole_map import MapPrompt, map_prompt
from v2l.tasks.restoration.settings import RestorationSettings
from v2l.tasks.restoration.token_prediction import WindowPrediction, allowed_tokens
from v2l.tasks.restoration.token_prior import CellCandidates


@dataclass(frozen=True)
class MapQuery:
    """A whole token map, as the LLM is prompted to predict cells of it.

    Attributes:
        prompt: the prompt, and where its answers stand.
        cells: raster numbers of the cells to predict.
        given: for each of them, the token ids that are shown: its visible or corrupted token, if any, and its
            first candidate.
        allowed: for each of them, the ids that may be predicted.
    """

    prompt: MapPrompt
    cells: tuple[int, ...]
    given: tuple[tuple[int, ...], ...]
    allowed: tuple[WeightedIds, ...]


def map_query(
    pipeline: Pipeline,
    seen: Sequence[int | None],
    width: int,
    candidates: CellCandidates,
    settings: RestorationSettings,
) -> MapQuery:
    """Build the query for all cells that have candidates.

    Args:
        pipeline: gives the ids of the local codebook.
        seen: h · w token ids in raster order; None where masked.
        width: w.
        candidates: of the cells to predict.
        settings: `num_candidates` and `prior_weight`.
    """
    codebook = pipeline.grid.local_codebook.token_ids
    first = {cell: candidates[cell].ids[0] for cell in sorted(candidates)}
    given: list[tuple[int, ...]] = []
    for cell, candidate in first.items():
        own = seen[cell]
        given.append((candidate,) if own is None else (own, candidate))
    allowed = tuple(allowed_tokens(candidates[cell], codebook, settings) for cell in first)
    return MapQuery(map_prompt(seen, first, width), tuple(first), tuple(given), allowed)


def predict_map(
    pipeline: Pipeline, query: MapQuery, settings: RestorationSettings, sample: int = 0
) -> list[WindowPrediction]:
    """Predict all cells of a map, each independently of the others.

    Args:
        pipeline: gives the LLM.
        query: the map.
        settings: how a token is chosen.
        sample: number of this answer; each has its own seed.

    Raises:
        V2LError: the map is longer than the LLM's context.
    """
    # Cell i of an answer samples with seed + i, so the answers' seeds are a whole map apart.
    seed = settings.seed + sample * len(query.cells)
    config = GenerationConfig(1, settings.temperature, settings.top_k, seed=seed)
    answers = pipeline.llm.answer(query.prompt.prompt, query.prompt.answers, query.allowed, config)
    return [
        WindowPrediction((cell,), given, answer.ids, answer.loglikelihood)
        for cell, given, answer in zip(query.cells, query.given, answers, strict=True)
    ]
