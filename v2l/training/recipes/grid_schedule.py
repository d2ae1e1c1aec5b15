"""step ──► learning rate, and which parts of the grid tokenizer's training are on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from v2l.config import TrainingConfig
from v2l.training.recipe import Phase
from v2l.training.schedule import WarmupCosine


@dataclass(frozen=True)
class GridSchedule:
    """What a config's fractions mean in steps; steps count from 0."""

    config: TrainingConfig

    def learning_rate(self, step: int) -> float:
        """The learning rate of one step."""
        warmup = max(1, round(self.config.warmup_fraction * self.config.steps))
        return WarmupCosine(self.config.learning_rate, self.config.steps, warmup).at(step)

    @property
    def fitting_step(self) -> int:
        """The step before which the projection is fitted, and from which on the quantizer is on."""
        return round(self.config.quantizer_start * self.config.steps)

    def quantizes(self, step: int) -> bool:
        """Whether features are quantized."""
        return step >= self.fitting_step

    def discriminates(self, step: int) -> bool:
        """Whether the discriminator is trained."""
        start = round(self.config.discriminator_start * self.config.steps)
        return self.config.adversarial_weight > 0 and step >= start

    def uses_adversarial_loss(self, step: int) -> bool:
        """Whether the decoder's loss has an adversarial term."""
        return self.discriminates(step) and step >= round(self.config.adversarial_start * self.config.steps)

    def adversarial_weight(self, step: int) -> float:
        """Weight of the adversarial term before its adaptive ratio: rising from 0 since the term is on."""
        since_start = step - round(self.config.adversarial_start * self.config.steps)
        ramp = round(self.config.adversarial_ramp * self.config.steps)
        if since_start < 0:
            return 0.0
        return self.config.adversarial_weight * min(1.0, (since_start + 1) / (ramp + 1))

    def phases(self, steps: int) -> list[Phase]:
        """Stretches of `steps` steps in which the same parts are on."""
        starts = [self.config.quantizer_start]
        if self.config.adversarial_weight:
            starts += [self.config.discriminator_start, self.config.adversarial_start]
        marks = sorted({0, steps, *(round(share * steps) for share in starts)})
        return [Phase(self._parts_on(first), first, end) for first, end in pairwise(marks)]

    def _parts_on(self, step: int) -> str:
        parts = (
            (self.quantizes(step), "quantizer"),
            (self.discriminates(step), "discriminator"),
            (self.uses_adversarial_loss(step), "adversarial term"),
        )
        return ", ".join(name for on, name in parts if on) or "no quantizer"
