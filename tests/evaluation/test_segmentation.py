"""Covering and best overlap agree with their formulas, and a division can be read from label maps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.evaluation.divisions import regular_grid, superpixels
from v2l.evaluation.segmentation import (
    agreement,
    annotators_segments,
    enlarge,
    other_annotators,
    segment_count,
)
from v2l.images import save_image
from v2l.tokenizers.clusters.k_means import k_means


def plain_covering(segments: Tensor, division: Tensor) -> tuple[float, float]:
    """Covering and best overlap, read one segment at a time with sets of pixels."""
    pixels = segments.numel()
    sets = [
        {place for place, label in enumerate(labels.flatten().tolist()) if label == number}
        for labels in (segments, division)
        for number in labels.unique().tolist()
    ]
    people, program = sets[: segments.unique().numel()], sets[segments.unique().numel() :]
    best = [max(len(one & other) / len(one | other) for other in program) for one in people]
    covering = sum(len(one) * value for one, value in zip(people, best, strict=True)) / pixels
    return covering, sum(best) / len(best)


def test_covering_and_best_overlap_are_the_published_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    division = torch.randint(4, (6, 7), generator=generator)
    people = [torch.randint(count, (6, 7), generator=generator) for count in (2, 5)]
    found = agreement(division, people)
    expected = [plain_covering(labels, division) for labels in people]
    assert found.covering == pytest.approx(sum(value for value, _ in expected) / 2)
    assert found.best_overlap == pytest.approx(sum(value for _, value in expected) / 2)
    assert found.parts == 4


def test_an_equal_division_agrees_entirely_and_one_part_covers_the_sum_of_squares() -> None:
    labels = torch.tensor([[0, 0, 1], [0, 0, 1]])
    assert agreement(labels, [labels]).covering == 1
    assert agreement(torch.zeros(2, 3, dtype=torch.int64), [labels]).covering == pytest.approx(
        (4**2 + 2**2) / 36
    )
    assert other_annotators([labels, labels]).covering == 1
    assert segment_count([labels, torch.zeros_like(labels)]) == 1.5


def test_label_maps_are_read_by_the_photographs_name(tmp_path: Path) -> None:
    for number, labels in enumerate(([[0, 3], [3, 7]], [[1, 1], [1, 1]])):
        picture = torch.tensor(labels).float()[None].expand(3, 2, 2) / 255
        save_image(picture, tmp_path / f"12_{number}.png")
    first, second = annotators_segments(tmp_path, Path("elsewhere/12.jpg"))
    assert first.tolist() == [[0, 1], [1, 2]]
    assert second.tolist() == [[0, 0], [0, 0]]
    with pytest.raises(V2LError, match=r"no segments of 13\.jpg"):
        annotators_segments(tmp_path, Path("13.jpg"))


@pytest.mark.parametrize("stem", ["photo", "photo_2", "photo [1]", "photo*"])
def test_label_maps_of_similar_names_are_not_mixed(tmp_path: Path, stem: str) -> None:
    for place, name in enumerate(("photo", "photo_2", "photo [1]", "photo*", "photo 1")):
        save_image(torch.eye(place + 2).expand(3, -1, -1), tmp_path / f"{name}_0.png")
    (segments,) = annotators_segments(tmp_path, Path(f"{stem}.jpg"))
    assert len(segments) == 2 + ["photo", "photo_2", "photo [1]", "photo*"].index(stem)


def test_baselines_have_about_as_many_parts_as_wanted() -> None:
    assert regular_grid(6, (20, 30)).unique().numel() == 6
    assert regular_grid(1, (20, 30)).unique().numel() == 1
    points = torch.tensor([[0.0, 0], [0, 1], [9, 9], [9, 8]])
    centres = k_means(points, 2)
    torch.testing.assert_close(centres[centres[:, 0].argsort()], torch.tensor([[0, 0.5], [9, 8.5]]))
    image = torch.zeros(3, 24, 36)
    image[0, :, 18:] = 1.0
    assert abs(superpixels(image, 4).unique().numel() - 4) <= 2
    assert enlarge(torch.tensor([[0, 1]]), (2, 4)).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]
