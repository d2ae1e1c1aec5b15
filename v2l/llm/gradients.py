"""prompts with embeddings and their continuations ──► log-likelihoods, with gradients for the embeddings.

The LLM's weights need no gradient, so autograd keeps what the embeddings need and nothing else. Rows are read
in one pass without a cache, padded on the right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from v2l.llm.inputs import CausalModel, Row

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
    rows = [[*prompt, *ids] for prompt, ids in zip(prompts, continuations, strict=True)]
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows], device=model.device)  # (B, L)
    real = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows], device=model.device)
    # The logits of column t predict token t + 1, so those of the columns first … L - 2 are needed.
    first = min(map(len, prompts)) - 1
    columns = torch.arange(first, length - 1, device=model.device)  # (C,)
    logits = model(
        input_ids=ids,
        attention_mask=None if bool(real.all()) else real,
        use_cache=False,
        logits_to_keep=columns,
    ).logits.float()  # (B, C, V)
    targets = ids[:, 1:][:, columns].clone()
    for row, (prompt, whole) in enumerate(zip(prompts, rows, strict=True)):
        targets[row, : len(prompt) - 1 - first] = NO_TARGET
        targets[row, len(whole) - 1 - first :] = NO_TARGET
    losses = cross_entropy(logits.transpose(1, 2), targets, ignore_index=NO_TARGET, reduction="none")
    return TokenLoglikelihoods(-losses, targets != NO_TARGET)
