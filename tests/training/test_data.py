"""Batches: what a step sees, and that it sees the same when it is repeated."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from v2l.datasets import CropSettings
from v2l.sources import find_images
from v2l.training.data import Batch, BatchOrder, ImageBatches, TrainingImages, epoch_order, shuffled_places


def order(size: int, batch: int, first: int, last: int, **world: int) -> BatchOrder:
    images = TrainingImages([Path(f"{index}.jpg") for index in range(size)], CropSettings(32))  # never read
    return BatchOrder(ImageBatches(images, batch, **world), first, last)


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 30), batch=st.integers(1, 8), processes=st.integers(1, 3), seed=st.integers(0, 99))
def test_every_epoch_shows_every_image_once_over_all_processes(
    size: int, batch: int, processes: int, seed: int
) -> None:
    steps = -(-2 * size // (batch * processes))  # at least two epochs
    orders = [
        order(size, batch, 0, steps, seed=seed, process=number, processes=processes)
        for number in range(processes)
    ]
    seen = [place for step in zip(*orders, strict=True) for share in step for place in share]
    first_epoch = [index for epoch, index in seen if epoch == 0]
    assert Counter(first_epoch) == Counter(range(size))


def test_an_epoch_is_shuffled_once_and_as_ever() -> None:
    assert epoch_order(9, 2, 3) is epoch_order(9, 2, 3)
    assert list(epoch_order(9, 2, 3)) == Random(2 * 1_000_003 + 3).sample(range(9), 9)


@pytest.mark.parametrize(("count", "size"), [(10, 3), (10, 10), (3, 7), (1, 2)])
def test_a_shuffled_batch_is_full_even_if_it_is_larger_than_the_data(count: int, size: int) -> None:
    seen = [shuffled_places(count, size, 5, step) for step in range(4)]
    assert [len(places) for places in seen] == [size] * 4
    for places in seen:
        assert max(Counter(places.tolist()).values()) == -(-size // count)
    assert not torch.equal(seen[0], seen[1]) or count == 1


def test_a_batch_that_fits_is_the_part_of_an_epoch_that_it_always_was() -> None:
    for step, (epoch, batch) in enumerate([(0, 0), (0, 1), (0, 2), (1, 0)]):
        epoch_order = torch.randperm(10, generator=torch.Generator().manual_seed(5 * 1_000_003 + epoch))
        assert torch.equal(shuffled_places(10, 3, 5, step), epoch_order[batch * 3 : batch * 3 + 3])


def test_an_order_that_begins_later_continues_the_same_sequence() -> None:
    whole, late = order(10, 4, 0, 12, seed=5), order(10, 4, 7, 12, seed=5)
    assert list(whole)[7:] == list(late)
    assert len(late) == 5


@pytest.mark.parametrize("workers", [0, 2])
def test_a_repeated_step_sees_the_same_crops_with_any_number_of_workers(samples: Path, workers: int) -> None:
    paths = find_images(samples)[:6]
    images = TrainingImages(paths, CropSettings(32, (40, 50), True, 3), torch.arange(6)[:, None])
    whole = list(ImageBatches(images, 4, seed=3).between(0, 4))
    again = list(ImageBatches(images, 4, seed=3, workers=workers).between(2, 4))
    for expected, batch in zip(whole[2:], again, strict=True):
        assert torch.equal(expected.images, batch.images)
        assert torch.equal(expected.global_ids, batch.global_ids)
    assert not torch.equal(whole[0].images, whole[2].images)


def test_a_changed_image_folder_has_another_fingerprint(samples: Path) -> None:
    paths = find_images(samples)[:4]
    fingerprints = {TrainingImages(part, CropSettings(32)).fingerprint for part in (paths, paths[:3])}
    assert len(fingerprints) == 2


def test_a_batch_in_parts_holds_the_same_images_in_the_same_order() -> None:
    batch = Batch(torch.rand(8, 3, 4, 4), torch.arange(8)[:, None])
    parts = batch.split(4)
    assert [len(part.images) for part in parts] == [2] * 4
    assert torch.equal(torch.cat([part.images for part in parts]), batch.images)
    assert torch.equal(torch.cat([part.global_ids for part in parts]), batch.global_ids)


def test_images_without_global_words_give_batches_without_them(samples: Path) -> None:
    images = TrainingImages(find_images(samples)[:3], CropSettings(32))
    batch = next(ImageBatches(images, 2).between(0, 1))
    assert (batch.images.shape, batch.global_ids.shape) == ((2, 3, 32, 32), (2, 0))
    assert torch.equal(images.first(9).images[1], images[0, 1][0])
