"""prompts and their answers ──► a LoRA adapter, step by step; the LLM's own weights stay as they are (peft's door).

Source: LoRA, arXiv 2106.09685; V2L Tokenizer, arXiv 2403.07874, section 4.3, tunes LLaMA-2 so, with rank 4 and alpha 32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW

from v2l.errors import V2LError
from v2l.llm.adapters import LoraShape, with_adapter
from v2l.llm.frozen import FrozenLLM


class Lesson(NamedTuple):
    """One prompt with its answer, and what to learn of it."""

    prompt: list[int]  # token ids
    answer: list[int]  # token ids
    asked: list[int]  # n places in the answer that are to be learned; the others are given
    codes: Tensor  # (V,) int64, the token ids among which to choose there
    wanted: Tensor  # (n, V) float32, how likely each of them is to be: rows that sum to 1


@dataclass(frozen=True)
class Schedule:
    """A learning rate by the step: a linear rise, then a half cosine down to zero.

    Attributes:
        rate: the highest.
        steps: how many steps there will be.
        warmup: of them, how many rise.
    """

    rate: float = 1e-3
    steps: int = 1000
    warmup: int = 20

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.steps < 1 or self.warmup < 0:
            raise V2LError(
                f"got rate {self.rate}, {self.steps} steps, {self.warmup} of them warm-up", "a rate above 0, and 1 step and more"
            )

    def at(self, step: int) -> float:
        """The rate of a step, from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        return self.rate * 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))


class LoraTuner:
    """An adapter in training.

    Args:
        llm: what it is laid over; it cannot be used otherwise meanwhile.
        shape: of the adapter.
        schedule: of AdamW's learning rate.
        seed: of its first weights.
    """

    def __init__(self, llm: FrozenLLM, shape: LoraShape, schedule: Schedule, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.llm, self.shape = llm, shape
        self.model = with_adapter(llm, shape)
        self.weights = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        self.optimizer = AdamW(list(self.weights.values()), lr=schedule.rate, weight_decay=0.0)
        self.schedule = schedule

    def step(self, number: int, lessons: Sequence[Lesson]) -> float:
        """Learn from some lessons, one pass each; returns the mean of their losses.

        Args:
            number: of the step, from 0: it sets the learning rate.
            lessons: what to learn from.

        Raises:
            V2LError: a lesson is longer than the LLM's context, or the loss is not finite.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule.at(number)
        self.optimizer.zero_grad()
        total = 0.0
        for lesson in lessons:
            loss = self.loss(lesson) / len(lessons)
            loss.backward()
            total += loss.item()
        if not math.isfinite(total):
            raise V2LError(f"the loss of step {number} is {total}", "finite losses", "a lower --rate, from a new folder")
        self.optimizer.step()
        return total

    def loss(self, lesson: Lesson) -> Tensor:
        """Mean Kullback–Leibler divergence, in nats, of what is told from what is wanted, each token after all that stands before it.

        Raises:
            V2LError: the lesson is longer than the LLM's context.
        """
        length = len(lesson.prompt) + len(lesson.answer)
        if length > self.llm.context:
            got = f"got a lesson of {length} tokens, more than the LLM {self.llm.name!r} reads at once"
            raise V2LError(got, f"{self.llm.context} tokens", "a smaller picture")
        ids = torch.tensor([[*lesson.prompt, *lesson.answer]], device=self.llm.device)
        places = torch.tensor(lesson.asked, device=self.llm.device) + len(lesson.prompt)
        logits = self.model(input_ids=ids, logits_to_keep=places - 1, use_cache=False).logits[0].float()
        codes, wanted = (tensor.to(logits.device).clone() for tensor in (lesson.codes, lesson.wanted))  # may come from inference mode
        return functional.kl_div(logits[:, codes].log_softmax(dim=-1), wanted, reduction="batchmean")
