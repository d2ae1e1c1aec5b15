"""prompts ──► the likeliest tokens to follow each; what all prompts begin with is read once."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from transformers import PreTrainedModel

from v2l.llm.batches import batches
from v2l.llm.kv_cache import Row, common_prefix, read_prefix, read_prompts


def likeliest_to_follow(
    model: PreTrainedModel, rows: Sequence[Row], count: int, batch_size: int
) -> list[tuple[int, ...]]:
    """The `count` likeliest next token ids of each row of prompt ids, likeliest first.

    Args:
        model: a causal LM.
        rows: prompts of at least one token id each.
        count: 1 is the greedy choice.
        batch_size: how many prompts are run together.
    """
    shared = common_prefix(rows)
    after = read_prefix(model, rows[0][:shared]) if rows else None
    following: dict[int, tuple[int, ...]] = {}
    for batch in batches([len(row) for row in rows], batch_size):
        logits = read_prompts(model, [rows[place][shared:] for place in batch], after).logits
        following |= zip(batch, top_ids(logits, count), strict=True)
    return [following[place] for place in range(len(rows))]


def top_ids(logits: Tensor, count: int) -> list[tuple[int, ...]]:
    """The ids of the largest logits (B, V), largest first; of equal ones the lowest id, as greedy decoding takes it."""
    logits, chosen = logits.clone(), []
    for _ in range(count):
        chosen.append(logits.argmax(dim=-1, keepdim=True))
        logits.scatter_(1, chosen[-1], float("-inf"))
    return list(zip(*(ids.flatten().tolist() for ids in chosen), strict=True))
