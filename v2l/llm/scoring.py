"""prompts and their continuations ──► log-likelihoods.

A prompt is read once; all its continuations go on from its cache. A continuation begins with its own space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from v2l.llm.inputs import CausalModel, Row, batches
from v2l.llm.kv_cache import CachedPrefix, common_prefix, read, read_prefix, read_prompts


@dataclass(frozen=True)
class Score:
    """The score of a continuation: log p(continuation | prompt), natural logarithm.

    Attributes:
        total: the sum over the tokens, at most 0.
        per_token: one log-probability per token.
    """

    total: float
    per_token: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The average over the tokens; 0 for an empty continuation."""
        return self.total / max(1, len(self.per_token))


@dataclass(frozen=True)
class ScoringRequest:
    """The ids of one prompt and of the continuations to score after it."""

    prompt: Row
    continuations: Sequence[Row]


def score_requests(
    model: CausalModel,
    requests: Sequence[ScoringRequest],
    batch_size: int,
    after: CachedPrefix | None = None,
) -> list[list[Score]]:
    """One list per request, one score per continuation, in their order."""
    rows = [list(request.prompt) for request in requests]
    shared = common_prefix(rows)
    if rows:
        after = read_prefix(model, rows[0][:shared], after)
    scores: list[list[Score]] = [[] for _ in requests]
    for batch in batches([len(row) for row in rows], batch_size):
        prefix = read_prompts(model, [rows[i][shared:] for i in batch], after)
        found = score_batch(model, prefix, [requests[i].continuations for i in batch], batch_size)
        for i, of_request in zip(batch, found, strict=True):
            scores[i] = of_request
    return scores


def score_batch(
    model: CausalModel, prefix: CachedPrefix, continuations: Sequence[Sequence[Row]], batch_size: int
) -> list[list[Score]]:
    """The scores of every row's continuations, `batch_size` of them at a time.

    Args:
        model: a causal LM.
        prefix: B rows, the prompts.
        continuations: per row, sequences of token ids; an empty one scores 0.
        batch_size: how many continuations are run together.
    """
    # The first token of each continuation is scored by the prompt's own logits; the rest need one more pass.
    first = prefix.logits.log_softmax(dim=-1)  # (B, V)
    tokens = {
        (row, j): [first[row, ids[0]].item()] if len(ids) else []
        for row, choices in enumerate(continuations)
        for j, ids in enumerate(choices)
    }
    longer = [key for key in tokens if len(continuations[key[0]][key[1]]) > 1]
    for batch in batches([len(continuations[row][j]) for row, j in longer], batch_size):
        keys = [longer[i] for i in batch]
        rows = [continuations[row][j] for row, j in keys]
        after = prefix.select([row for row, _ in keys])
        logits = read(model, [row[:-1] for row in rows], after, every=True).logits
        for key, row_logits, row in zip(keys, logits, rows, strict=True):
            tokens[key] += token_loglikelihoods(row_logits, row[1:])
    return [[score(tokens[row, j]) for j in range(len(choices))] for row, choices in enumerate(continuations)]


def token_loglikelihoods(logits: Tensor, ids: Row) -> list[float]:
    """The log-probability of each id, from the logits (L, V) before it; rows past the last id are padding."""
    logprobs = logits[: len(ids)].log_softmax(dim=-1)
    found: list[float] = logprobs[range(len(ids)), list(ids)].tolist()
    return found


def score(per_token: Sequence[float]) -> Score:
    """A score from its tokens."""
    return Score(float(sum(per_token)), tuple(per_token))
