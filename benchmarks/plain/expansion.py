"""words ──► bigrams and trigrams, one prompt and one full pass of the LLM for each (method of the official code: 64,000 calls)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from v2l.codebook.expansion import Gram, expand
from v2l.llm import FrozenLLM


def expand_plainly(llm: FrozenLLM, words: Sequence[Gram], orders: int = 3) -> list[Gram]:
    """All bigrams, then all trigrams, by greedy decoding of "a photo of {}", as long as the continuation is a word."""
    grams, longest = [], list(words)
    for _ in range(2, orders + 1):
        continued = [expand([gram], llm, [[greedy(llm, gram)]])[0] for gram in longest]
        longest = [gram for longer in continued for gram in longer]
        grams += longest
    return grams


@torch.inference_mode()
def greedy(llm: FrozenLLM, gram: Gram) -> int:
    """The likeliest next token of one prompt, read from its first token."""
    ids = [*llm.encode("a photo of"), *gram.ids]
    return int(llm.model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax())
