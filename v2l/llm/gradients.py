"""prompts with embeddings and their continuations ──► log-likelihoods, with gradients for the embeddings.

The LLM's weights need no gradient, so autograd keeps what the embeddings need and nothing else. The text in
front of a row's first vector needs none either: if rows share it, it is read once, without gradients, and
its keys and values are the beginning of these rows. Behind it, rows are read in one pass, padded on the
right.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from v2l.llm.inputs import CausalModel, Row
from v2l.llm.kv_cache import join, read_prefix

NO_TARGET = -100  # cross_entropy's own value for positions that count for nothing


class TokenLoglikelihoods(NamedTuple):
    """The log-probabilities of the tokens of B continuations.

    Attributes:
        values: (B, C) float32, at most 0; 0 where a column holds no token of the continuation.
        real: (B, C) bool, True where it does.
    """

    values: Tensor
    real: Tensor


def continuation_loglikelihoods(
    model: CausalModel, prompts: Sequence[Row], continuations: Sequence[Row]
) -> TokenLoglikelihoods:
    """Log p(token | prompt and the tokens before it) of each token of B continuations, differentiable.

    Args:
        model: a causal LM that reads the vectors behind negative ids.
        prompts: B rows of at least one id each.
        continuations: B rows of at least one token id each.
    """
    texts = leading_texts(prompts)
    behind = [prompt[len(text) :] for text, prompt in zip(texts, prompts, strict=True)]
    rows = [[*prompt, *ids] for prompt, ids in zip(behind, continuations, strict=True)]
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows], device=model.device)  # (B, L)
    given = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows], device=model.device)
    # The logits of column t predict token t + 1, so those of the columns first … L - 2 are needed.
    first = min(map(len, behind)) - 1
    columns = torch.arange(first, length - 1, device=model.device)  # (C,)
    options = after_texts(model, texts, given)
    logits = model(input_ids=ids, logits_to_keep=columns, **options).logits.float()  # (B, C, V)
    targets = ids[:, 1:][:, columns].clone()
    for row, (prompt, whole) in enumerate(zip(behind, rows, strict=True)):
        targets[row, : len(prompt) - 1 - first] = NO_TARGET
        targets[row, len(whole) - 1 - first :] = NO_TARGET
    losses = cross_entropy(logits.transpose(1, 2), targets, ignore_index=NO_TARGET, reduction="none")
    return TokenLoglikelihoods(-losses, targets != NO_TARGET)


def leading_texts(prompts: Sequence[Row]) -> list[tuple[int, ...]]:
    """The ids in front of each prompt's first vector; none at all where reading them first saves nothing.

    At least one number of a prompt stays behind its text.
    """
    texts = [tuple(takewhile(lambda number: number >= 0, prompt[:-1])) for prompt in prompts]
    are_shared = len(set(texts)) < len(texts) and min(map(len, texts)) > 1
    return texts if are_shared else [()] * len(prompts)


def after_texts(model: CausalModel, texts: Sequence[tuple[int, ...]], given: Tensor) -> dict[str, Any]:
    """Options of a pass over rows that each continue a text, which is read without gradients.

    Args:
        model: a causal LM.
        texts: of each of B rows; all are empty if the rows begin a prompt.
        given: (B, L) int64, 1 where a row has a number, 0 where it is padded.
    """
    if not any(texts):
        return {"attention_mask": None if bool(given.all()) else given, "use_cache": False}
    with torch.no_grad():
        read = {text: read_prefix(model, text) for text in dict.fromkeys(texts)}
    before = join([prefix for prefix in read.values() if prefix is not None])
    order = {text: row for row, text in enumerate(read)}
    after = before.select([order[text] for text in texts])
    real = torch.cat([after.real.long(), given], dim=1)  # (B, T + L)
    positions = (after.lengths[:, None] + torch.arange(given.shape[1], device=given.device)) * given
    return {
        "attention_mask": None if bool(real.all()) else real,
        "position_ids": positions,
        "past_key_values": after.cache,
        "use_cache": True,
    }
