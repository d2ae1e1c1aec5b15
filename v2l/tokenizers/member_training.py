"""settings of training ──► every tokenizer that is trained on frozen features: what all of them can set."""

from __future__ import annotations

from dataclasses import dataclass

from v2l.sections import ranged


@dataclass(frozen=True)
class MemberTraining:
    """What every member of the family that is trained on frozen features can set."""

    steps: int = ranged(100_000, 1, 10**9, "Optimizer steps.")
    batch_size: int = ranged(256, 1, 10**5, "Images a step and a process.")
    learning_rate: float = ranged(2e-4, 0, 1, "Peak learning rate of AdamW.")
    warmup_fraction: float = ranged(0.05, 0, 1, "Share of the steps in which the rate rises.")
    weight_decay: float = ranged(0.01, 0, 1, "Of AdamW.")
    ema_decay: float = ranged(0.0, 0, 1, "Decay of the moving average of the weights; 0 is off.")
    save_every: int = ranged(500, 1, 10**9, "Steps between saved states.")
    log_every: int = ranged(50, 1, 10**9, "Steps between lines of the log.")
    validate_every: int = ranged(500, 0, 10**9, "Steps between validations; 0 is off.")
