"""The learning rate of a run."""

from __future__ import annotations

import pytest

from v2l.training.schedule import WarmupCosine


def test_the_rate_rises_in_the_warm_up_and_falls_to_zero() -> None:
    schedule = WarmupCosine(2.0, steps=30, warmup=10)
    assert [schedule.at(step) for step in (0, 4, 9)] == pytest.approx([0.2, 1.0, 2.0])
    assert schedule.at(10) == 2.0
    assert schedule.at(20) == pytest.approx(1.0)
    assert schedule.at(30) == schedule.at(99) == 0.0


def test_without_a_warm_up_the_first_step_has_the_peak() -> None:
    assert WarmupCosine(2.0, steps=1).at(0) == 2.0
