"""prompts ──► the most probable next tokens of each; the common beginning of all prompts is read once."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from v2l.llm.inputs import CausalModel, Row, batches
from v2l.llm.kv_cache import common_prefix, read_prefix, read_prompts


def top_next_tokens(
    model: CausalModel, rows: Sequence[Row], count: int, batch_size: int
) -> list[tuple[int, ...]]:
    """The `count` most probable next token ids of each row, most probable first.

    Args:
        model: a causal LM.
        rows: prompts of at least one id each.
        count: 1 is the greedy choice.
        batch_size: how many prompts are run together.
    """
    shared = common_prefix(rows)
    after = read_prefix(model, rows[0][:shared]) if rows else None
    found: dict[int, tuple[int, ...]] = {}
    for batch in batches([len(row) for row in rows], batch_size):
        logits = read_prompts(model, [rows[number][shared:] for number in batch], after).logits
        found |= zip(batch, top_ids(logits, count), strict=True)
    return [found[number] for number in range(len(rows))]


def top_ids(logits: Tensor, count: int) -> list[tuple[int, ...]]:
    """The ids of the largest logits (B, V), largest first; of equal ones the lowest id first."""
    logits = logits.clone()
    chosen: list[list[int]] = []  # `count` lists of B ids
    # Repeated argmax, since topk gives no order to equal logits.
    for _ in range(count):
        largest = logits.argmax(dim=-1, keepdim=True)  # (B, 1)
        chosen.append(largest.flatten().tolist())
        logits.scatter_(1, largest, float("-inf"))
    return list(zip(*chosen, strict=True))
