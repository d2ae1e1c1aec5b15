"""rows of ids ──► cached prefixes: keys, values, and the logits of the next token.

A prefix is read once and continued many times: by the continuations of one prompt, by prompts with a common
beginning, by the windows of one image. Continuing a prefix does not change it. Rows are padded on the right.
Padding is masked and takes no position, so a row gives the same result in any batch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache

from v2l.llm.inputs import CausalModel, Row


@dataclass(frozen=True)
class CachedPrefix:
    """What the LLM keeps of B rows that it has read.

    Attributes:
        cache: keys and values of T columns, for each layer.
        real: (B, T) bool, False where a row is padded.
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

    def select(self, rows: Sequence[int]) -> CachedPrefix:
        """Some of the rows; a row may be taken many times."""
        index = torch.tensor(rows, dtype=torch.long, device=self.real.device)
        cache = fork(self.cache)
        cache.batch_select_indices(index)
        return CachedPrefix(cache, self.real[index], self.logits[index])


def fork(cache: DynamicCache) -> DynamicCache:
    """A cache that can be continued while the given one stays as it is; the tensors are shared."""
    forked = copy.copy(cache)
    forked.layers = [copy.copy(layer) for layer in cache.layers]
    return forked


def join(prefixes: Sequence[CachedPrefix]) -> CachedPrefix:
    """Several prefixes as the rows of one; shorter ones are padded in front, and the padding is masked."""
    if len(prefixes) == 1:
        return prefixes[0]
    longest = max(prefix.real.shape[1] for prefix in prefixes)
    gaps = [longest - prefix.real.shape[1] for prefix in prefixes]

    def joined(parts: Sequence[Tensor]) -> Tensor:
        """Keys or values, (B, heads, T, width) each."""
        return torch.cat([pad(part, (0, 0, gap, 0)) for part, gap in zip(parts, gaps, strict=True)])

    cache = fork(prefixes[0].cache)
    for number in range(len(cache.layers)):
        # All layers here hold keys and values, although the declared type has other layers, too.
        layers: list[Any] = [prefix.cache.layers[number] for prefix in prefixes]
        layer: Any = cache.layers[number]
        layer.keys = joined([one.keys for one in layers])
        layer.values = joined([one.values for one in layers])
    real = torch.cat([pad(prefix.real, (gap, 0)) for prefix, gap in zip(prefixes, gaps, strict=True)])
    return CachedPrefix(cache, real, torch.cat([prefix.logits for prefix in prefixes]))


def common_prefix(rows: Sequence[Row]) -> int:
    """How many first ids all rows share; each row keeps at least one id of its own. 0 for a single row."""
    if len(rows) < 2:
        return 0
    # What the first and the last row in alphabetical order share, all rows between them share as well.
    lowest, highest = min(rows, key=list), max(rows, key=list)
    limit = min(map(len, rows)) - 1
    differing = (i for i, (a, b) in enumerate(zip(lowest, highest, strict=False)) if a != b)
    return min(limit, next(differing, limit))


@dataclass(frozen=True)
class Reading:
    """The result of one pass over B rows of L ids.

    Attributes:
        prefix: what the LLM keeps of them.
        logits: (B, L, V) float32 after every id; only (B, 0, V) where they were not requested.
    """

    prefix: CachedPrefix
    logits: Tensor


def read(
    model: CausalModel, rows: Sequence[Row], after: CachedPrefix | None = None, every: bool = False
) -> Reading:
    """Run the LLM once over B rows, each continuing its row of `after`.

    Args:
        model: a causal LM.
        rows: B rows of at least one id each.
        after: the prefix of the same B rows, or None at the beginning of a prompt.
        every: also return the logits after every id, not only after each row's last.
    """
    device = model.device
    lengths = torch.tensor([len(row) for row in rows], device=device)
    given = torch.arange(int(lengths.max()), device=device) < lengths[:, None]  # (B, L)
    ids = torch.zeros(given.shape, dtype=torch.long, device=device)
    ids[given] = torch.tensor([token for row in rows for token in row], device=device)
    before = after.real if after else given[:, :0]
    real = torch.cat([before, given], dim=1)  # (B, T + L)
    # Positions count real tokens only: padding inside `after` takes none.
    positions = (before.sum(dim=1, keepdim=True) + torch.arange(given.shape[1], device=device)) * given
    # The output head is run on the columns where some row ends, since it costs V · width a column.
    columns, column = torch.unique(lengths - 1, return_inverse=True)
    cache = fork(after.cache) if after else DynamicCache()
    logits: Tensor = model(
        input_ids=ids,
        attention_mask=None if bool(real.all()) else real.long(),
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=0 if every else columns,
    ).logits.float()
    last = logits[torch.arange(len(rows), device=device), lengths - 1 if every else column]
    return Reading(CachedPrefix(cache, real, last), logits if every else logits[:, :0])


def logits_at(model: CausalModel, ids: Row, places: Sequence[int]) -> Tensor:
    """Logits (n, V) float32 of the tokens behind n positions of one row; nothing is cached."""
    device = model.device
    kept = torch.tensor(places, device=device)
    logits: Tensor = model(
        input_ids=torch.tensor([list(ids)], device=device), use_cache=False, logits_to_keep=kept
    ).logits
    return logits[0].float()


def read_prompts(model: CausalModel, rows: Sequence[Row], after: CachedPrefix | None = None) -> CachedPrefix:
    """The cached prefix of B prompts; their common beginning is read once.

    Args:
        model: a causal LM.
        rows: B rows of at least one id each.
        after: the prefix of a single row that all prompts continue.
    """
    shared = common_prefix(rows)
    after = read_prefix(model, rows[0][:shared], after)
    if after is not None:
        after = after.select([0] * len(rows))
    return read(model, [row[shared:] for row in rows], after).prefix


def read_prefix(model: CausalModel, ids: Row, after: CachedPrefix | None = None) -> CachedPrefix | None:
    """The prefix of one row of ids that continues `after`; `after` itself when there are no ids."""
    return read(model, [ids], after).prefix if ids else after
