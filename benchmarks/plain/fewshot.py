"""prompts ──► log-likelihoods of continuations, one by one: no batch, no cache."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from v2l.llm import CachedPrefix, FrozenLLM, Score
from v2l.prompts.prompt import Prompt


class OneByOne(FrozenLLM):
    """The same LLM with plain scoring; every scoring rule of few-shot classification runs on it unchanged."""

    @torch.inference_mode()
    def loglikelihood(
        self,
        requests: Sequence[tuple[Prompt | str, Sequence[Prompt | str]]],
        batch_size: int = 1,
        after: CachedPrefix | None = None,
    ) -> list[list[Score]]:
        return [
            [self._score(self.encode(prompt), self.encode_pieces(choice)) for choice in choices]
            for prompt, choices in requests
        ]

    def _score(self, prompt: list[int], choice: list[int]) -> Score:
        logits = self.model(torch.tensor([prompt + choice]), use_cache=False).logits[0].float()
        logprobs = logits[len(prompt) - 1 : -1].log_softmax(dim=-1)
        tokens = logprobs[range(len(choice)), choice].tolist()
        return Score(sum(tokens), tuple(tokens))
