"""Steps: what rate they have, what they see, and that they see it again when repeated."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from v2l.config import TrainingConfig
from v2l.datasets import CropSettings
from v2l.sources import find_images
from v2l.training.data import Order, TrainingImages, batches
from v2l.training.schedule import Schedule


def test_the_rate_rises_to_its_peak_and_falls_as_half_a_cosine() -> None:
    schedule = Schedule(TrainingConfig(steps=100, warmup_fraction=0.1, learning_rate=1.0))
    rates = [schedule.learning_rate(step) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert rates[55] == pytest.approx(0.5)
    assert all(before >= after for before, after in pairwise(rates[10:]))
    assert rates[-1] < 0.001


def test_parts_begin_at_their_share_of_the_steps() -> None:
    config = TrainingConfig(
        steps=100, quantizer_start=0.3, adversarial_weight=0.1, discriminator_start=0.5, adversarial_start=0.6
    )
    schedule = Schedule(config)
    assert [schedule.quantizes(step) for step in (29, 30)] == [False, True]
    assert [schedule.discriminates(step) for step in (49, 50)] == [False, True]
    assert [schedule.deceives(step) for step in (59, 60)] == [False, True]
    assert not Schedule(TrainingConfig(steps=10, adversarial_weight=0.0)).discriminates(9)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 30), batch=st.integers(1, 8), processes=st.integers(1, 3), seed=st.integers(0, 99))
def test_every_epoch_shows_every_image_once_over_all_processes(
    size: int, batch: int, processes: int, seed: int
) -> None:
    steps = -(-2 * size // (batch * processes))  # at least two epochs
    orders = [Order(size, batch, rank, processes, seed, 0, steps) for rank in range(processes)]
    seen = [place for step in zip(*orders, strict=True) for share in step for place in share]
    first_epoch = [index for epoch, index in seen if epoch == 0]
    assert Counter(first_epoch) == Counter(range(size))


def test_an_order_that_begins_later_continues_the_same_sequence() -> None:
    whole, late = Order(10, 4, 0, 1, 5, 0, 12), Order(10, 4, 0, 1, 5, 7, 12)
    assert list(whole)[7:] == list(late)
    assert len(late) == 5


@pytest.mark.parametrize("workers", [0, 2])
def test_a_repeated_step_sees_the_same_crops_with_any_number_of_workers(samples: Path, workers: int) -> None:
    paths = find_images(samples)[:6]
    images = TrainingImages(paths, torch.arange(6)[:, None], CropSettings(32, (40, 50), True, 3))
    whole = list(batches(images, Order(6, 4, 0, 1, 3, 0, 4), 0))
    again = list(batches(images, Order(6, 4, 0, 1, 3, 2, 4), workers))
    for expected, batch in zip(whole[2:], again, strict=True):
        assert torch.equal(expected.images, batch.images)
        assert torch.equal(expected.global_ids, batch.global_ids)
    assert not torch.equal(whole[0].images, whole[2].images)


def test_a_changed_image_folder_has_another_fingerprint(samples: Path) -> None:
    paths, words = find_images(samples)[:4], torch.zeros(4, 1, dtype=torch.int64)
    fingerprints = {
        TrainingImages(part, words[: len(part)], CropSettings(32)).fingerprint for part in (paths, paths[:3])
    }
    assert len(fingerprints) == 2
