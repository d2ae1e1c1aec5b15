"""prompts and what their answers cost ──► a LoRA adapter, step by step; the LLM's own weights stay as they are (peft's door).

Sources: LoRA, arXiv 2106.09685; minimum risk training, arXiv 1512.02433; V2L Tokenizer, arXiv 2403.07874, section 4.3, tunes LLaMA-2 so,
with rank 4 and alpha 32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import AdamW

from v2l.errors import V2LError
from v2l.llm.adapters import LoraShape, fix_visual_factors, with_adapter
from v2l.llm.constraints import Weighted
from v2l.llm.frozen import FrozenLLM
from v2l.llm.kv_cache import logits_at

CALM = 4.0  # all scores are divided by it in training: what the LLM thinks of words at first is then little beside what is expected


class Lesson(NamedTuple):
    """One prompt, and what the answers behind some of its places cost."""

    prompt: list[int]  # token ids
    places: list[int]  # n places in it
    choices: list[
        Weighted
    ]  # for each, the token ids to choose among, and what is added to what the LLM says of them
    costs: list[Tensor]  # for each, float32, what each of its choices costs


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
                f"got rate {self.rate}, {self.steps} steps, {self.warmup} of them warm-up",
                "a rate above 0, and 1 step and more",
            )

    def at(self, step: int) -> float:
        """The rate of a step, from 0."""
        if step < self.warmup:
            return self.rate * (step + 1) / self.warmup
        return (
            self.rate
            * 0.5
            * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))
        )


class LoraTuner:
    """An adapter in training.

    Args:
        llm: what it is laid over; it cannot be used otherwise meanwhile.
        shape: of the adapter.
        schedule: of AdamW's learning rate.
        seed: of its first weights.
        visual_features: (V, sight) float32, how tokens look to the eye, which the LLM is shown (`fix_visual_factors`); None leaves it blind.
    """

    def __init__(
        self,
        llm: FrozenLLM,
        shape: LoraShape,
        schedule: Schedule,
        seed: int = 0,
        visual_features: Tensor | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.llm, self.shape = (
            llm,
            shape if visual_features is None else replace(shape, visual_dim=visual_features.shape[1]),
        )
        self.model = with_adapter(llm, self.shape)
        if visual_features is not None:
            fix_visual_factors(self.model, visual_features)
        self.weights = {
            name: weight for name, weight in self.model.named_parameters() if weight.requires_grad
        }
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
            raise V2LError(
                f"the loss of step {number} is {total}", "finite losses", "a lower --rate, from a new folder"
            )
        self.optimizer.step()
        return total

    def loss(self, lesson: Lesson) -> Tensor:
        """What the LLM's choices among what is allowed cost on average, drawn at temperature `CALM`.

        Raises:
            V2LError: the lesson is longer than the LLM's context.
        """
        if len(lesson.prompt) > self.llm.context:
            got = f"got a lesson of {len(lesson.prompt)} tokens, more than the LLM {self.llm.name!r} reads at once"
            raise V2LError(got, f"{self.llm.context} tokens", "a checkpoint of fewer tokens an image")
        rows = logits_at(self.model, lesson.prompt, lesson.places)
        shares = (
            (choices.scores(row) / CALM).softmax(dim=0)
            for row, choices in zip(rows, lesson.choices, strict=True)
        )
        return torch.stack(
            [share @ cost.to(share.device) for share, cost in zip(shares, lesson.costs, strict=True)]
        ).mean()
