"""token ids ──► what the LLM remembers of them: keys, values, and the logits of the next token.

A context is read once and continued many times: by the continuations of one prompt, by the prompts that share a prefix, by
the windows of one image. Reading leaves the context it continues as it was. Rows are padded on the right; padding is masked
and takes no position, so a row is the same in any batch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache, PreTrainedModel

Row = Sequence[int]


@dataclass(frozen=True)
class Context:
    """What the LLM has read, for B rows.

    Attributes:
        cache: keys and values of T columns, per layer.
        real: (B, T) bool, False where a row was padded.
        logits: (B, V) float32, of the token after each row's last one.
    """

    cache: DynamicCache
    real: Tensor
    logits: Tensor

    def __len__(self) -> int:
        return len(self.real)

    @property
    def lengths(self) -> Tensor:
        """(B,) int64: how many tokens each row holds."""
        return self.real.sum(dim=1)

    def select(self, rows: Sequence[int]) -> Context:
        """The context of some rows; a row may be taken many times."""
        index = torch.tensor(rows, dtype=torch.long, device=self.real.device)
        cache = fork(self.cache)
        cache.batch_select_indices(index)
        return Context(cache, self.real[index], self.logits[index])


def fork(cache: DynamicCache) -> DynamicCache:
    """A cache that can be continued while the first stays as it is; the tensors are shared, not copied."""
    forked = copy.copy(cache)
    forked.layers = [copy.copy(layer) for layer in cache.layers]
    return forked


def join(contexts: Sequence[Context]) -> Context:
    """Several contexts as the rows of one; shorter ones are padded in front, and padding counts for nothing."""
    if len(contexts) == 1:
        return contexts[0]
    longest = max(context.real.shape[1] for context in contexts)
    gaps = [longest - context.real.shape[1] for context in contexts]
    cache = fork(contexts[0].cache)
    for number, layer in enumerate(cache.layers):
        parts = [context.cache.layers[number] for context in contexts]
        layer.keys = torch.cat(
            [pad(part.keys, (0, 0, gap, 0)) for part, gap in zip(parts, gaps, strict=True)]
        )
        layer.values = torch.cat(
            [pad(part.values, (0, 0, gap, 0)) for part, gap in zip(parts, gaps, strict=True)]
        )
    real = torch.cat([pad(context.real, (gap, 0)) for context, gap in zip(contexts, gaps, strict=True)])
    return Context(cache, real, torch.cat([context.logits for context in contexts]))


def common_prefix(rows: Sequence[Row]) -> int:
    """How many first ids all rows share, leaving each row at least one of its own; 0 for a single row."""
    if len(rows) < 2:
        return 0
    lowest, highest = min(rows, key=list), max(rows, key=list)
    limit = min(map(len, rows)) - 1
    differing = (i for i, (a, b) in enumerate(zip(lowest, highest, strict=False)) if a != b)
    return min(limit, next(differing, limit))


@dataclass(frozen=True)
class Reading:
    """One pass over B rows of L ids: the context after it, and all its logits when asked for.

    Attributes:
        context: what the LLM remembers now.
        logits: (B, L, V) float32 after every id, or None.
    """

    context: Context
    logits: Tensor | None = None


def read(
    model: PreTrainedModel, rows: Sequence[Row], after: Context | None = None, every: bool = False
) -> Reading:
    """Run the LLM once over B rows, each continuing its row of `after`.

    Args:
        model: a causal LM.
        rows: B rows of at least one token id each.
        after: the context of the same B rows, or None for the beginning of a prompt.
        every: also return the logits after every id, not only after each row's last.
    """
    device = model.device
    lengths = torch.tensor([len(row) for row in rows], device=device)
    given = torch.arange(int(lengths.max()), device=device) < lengths[:, None]  # (B, L)
    ids = torch.zeros(given.shape, dtype=torch.long, device=device)
    ids[given] = torch.tensor([token for row in rows for token in row], device=device)
    before = after.real if after else given[:, :0]
    real = torch.cat([before, given], dim=1)
    positions = (before.sum(dim=1, keepdim=True) + torch.arange(given.shape[1], device=device)) * given
    columns, column = (lengths - 1).unique(return_inverse=True)
    cache = fork(after.cache) if after else DynamicCache()
    logits = model(
        input_ids=ids,
        attention_mask=None if bool(real.all()) else real.long(),
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=0 if every else columns,
    ).logits.float()
    last = logits[torch.arange(len(rows), device=device), lengths - 1 if every else column]
    return Reading(Context(cache, real, last), logits if every else None)


def logits_at(model: PreTrainedModel, ids: Row, places: Sequence[int]) -> Tensor:
    """Logits (n, V) float32 of the tokens behind n places of one row of ids; nothing is kept to go on from."""
    device = model.device
    kept = torch.tensor(places, device=device)
    return (
        model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False, logits_to_keep=kept)
        .logits[0]
        .float()
    )


def read_prompts(model: PreTrainedModel, rows: Sequence[Row], after: Context | None = None) -> Context:
    """The context of B prompts; the ids that they all begin with are read once.

    Args:
        model: a causal LM.
        rows: B rows of at least one token id each.
        after: the context of a single row that all prompts continue.
    """
    shared = common_prefix(rows)
    after = read_prefix(model, rows[0][:shared], after)
    if after is not None:
        after = after.select([0] * len(rows))
    return read(model, [row[shared:] for row in rows], after).context


def read_prefix(model: PreTrainedModel, ids: Row, after: Context | None = None) -> Context | None:
    """The context of one row of ids that continues `after`; `after` itself when there are none."""
    return read(model, [ids], after).context if ids else after
