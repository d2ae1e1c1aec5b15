"""step ──► learning rate: a linear warm-up, then half a cosine down to 0.

Source: V2L Tokenizer, arXiv 2403.07874, section 4.1; SGDR, arXiv 1608.03983, equation 5, without restarts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class WarmupCosine:
    """A learning rate by the step; steps count from 0.

    Attributes:
        peak: the highest learning rate.
        steps: all steps of the run.
        warmup: the first steps, in which the rate rises.
    """

    peak: float
    steps: int
    warmup: int = 0

    def at(self, step: int) -> float:
        """The learning rate of one step."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.peak * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
