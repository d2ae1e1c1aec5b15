"""step ──► learning rate, and which parts of the training are on.

Source of the rate: arXiv 2403.07874, section 4.1 (linear warm-up, then half a cosine down to 0).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from v2l.config import TrainingConfig


@dataclass(frozen=True)
class Schedule:
    """What a config's fractions mean in steps; steps count from 0."""

    config: TrainingConfig

    def learning_rate(self, step: int) -> float:
        """The rate of one step: rising to the peak during warm-up, then half a cosine."""
        warmup = max(1, round(self.config.warmup_fraction * self.config.steps))
        if step < warmup:
            return self.config.learning_rate * (step + 1) / warmup
        done = (step - warmup) / max(1, self.config.steps - warmup)
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    @property
    def fitting_step(self) -> int:
        """The step before which the projection is fitted and from which on the quantizer is on."""
        return round(self.config.quantizer_start * self.config.steps)

    def quantizes(self, step: int) -> bool:
        """Whether features are quantized."""
        return step >= self.fitting_step

    def discriminates(self, step: int) -> bool:
        """Whether the discriminator is trained."""
        return self.config.adversarial_weight > 0 and step >= round(
            self.config.discriminator_start * self.config.steps
        )

    def deceives(self, step: int) -> bool:
        """Whether the discriminator's verdict counts in the decoder's loss."""
        return self.discriminates(step) and step >= round(self.config.adversarial_start * self.config.steps)

    def adversarial_weight(self, step: int) -> float:
        """Weight of the adversarial term before its ratio: rising from 0 once it counts."""
        begun = step - round(self.config.adversarial_start * self.config.steps)
        ramp = round(self.config.adversarial_ramp * self.config.steps)
        return self.config.adversarial_weight * min(1.0, (begun + 1) / (ramp + 1)) if begun >= 0 else 0.0
