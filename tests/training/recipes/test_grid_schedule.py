"""The learning rate, and the parts of the grid tokenizer's training that are on in each step."""

from __future__ import annotations

from itertools import pairwise

import pytest

from v2l.config import TrainingConfig
from v2l.training.recipes.grid_schedule import GridSchedule


def test_the_rate_rises_to_its_peak_and_falls_as_half_a_cosine() -> None:
    schedule = GridSchedule(TrainingConfig(steps=100, warmup_fraction=0.1, learning_rate=1.0))
    rates = [schedule.learning_rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[55] == pytest.approx(0.5)
    assert all(before >= after for before, after in pairwise(rates[10:]))
    assert rates[-1] < 0.001


def test_parts_begin_at_their_share_of_the_steps() -> None:
    config = TrainingConfig(
        steps=100, quantizer_start=0.3, adversarial_weight=0.1, discriminator_start=0.5, adversarial_start=0.6
    )
    schedule = GridSchedule(config)
    assert [schedule.quantizes(step) for step in (29, 30)] == [False, True]
    assert [schedule.discriminates(step) for step in (49, 50)] == [False, True]
    assert [schedule.uses_adversarial_loss(step) for step in (59, 60)] == [False, True]
    assert not GridSchedule(TrainingConfig(steps=10, adversarial_weight=0.0)).discriminates(9)
