"""words ──► bigrams and trigrams, one full forward pass of the LLM for each.

The official code works like this; it needs 64,000 calls.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from v2l.codebook.expansion import Gram, expand
from v2l.llm import FrozenLLM


def expand_plainly(llm: FrozenLLM, words: Sequence[Gram], orders: int = 3) -> list[Gram]:
    """All bigrams, then all trigrams: greedy continuations of "a photo of {}" that are words."""
    grams, longest = [], list(words)
    for _ in range(2, orders + 1):
        continued = [expand([gram], llm, [[greedy(llm, gram)]])[0] for gram in longest]
        longest = [gram for longer in continued for gram in longer]
        grams += longest
    return grams


@torch.inference_mode()
def greedy(llm: FrozenLLM, gram: Gram) -> int:
    """The most probable next token of one prompt, without a cache."""
    ids = [*llm.encode("a photo of"), *gram.ids]
    return int(llm.model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
