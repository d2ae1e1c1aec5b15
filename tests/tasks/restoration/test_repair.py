"""Repair is blind: it reads the corrupted image and other images, and the LLM alone chooses the tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from v2l.corruptions import Blur, Corruption, Rotation, Shift
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.restoration.repair import SimilarStretches, repair
from v2l.tasks.restoration.settings import RestorationSettings

SETTINGS = RestorationSettings(n_before=2, n_examples=4)


@pytest.fixture(scope="module")
def photographs(samples: Path) -> list[Tensor]:
    return [load_image(path)[:, :120, :90].clone() for path in sorted(samples.rglob("*.jpg"))[:4]]


@pytest.mark.parametrize("corruption", [Blur(5), Shift(0.125, -0.25), Rotation(1)], ids=str)
def test_the_restored_image_has_the_clean_images_size(
    pipeline: Pipeline, photographs: list[Tensor], corruption: Corruption
) -> None:
    image, *others = photographs
    corrupted = corruption.apply(image)
    done = repair(pipeline, corrupted, corruption, others, SETTINGS)
    assert done.image.shape == image.shape
    assert 0 <= done.image.min() <= done.image.max() <= 1
    assert sorted(cell for window in done.log for cell in window.cells) == list(
        range(done.tokens.local_ids.numel())
    )
    assert all(
        set(window.ids) <= {token for cell in window.cells for token in done.candidates[cell].ids}
        for window in done.log
    )
    assert torch.equal(done.decode(done.tokens.local_ids), done.image)


def test_equal_seeds_give_equal_pictures(pipeline: Pipeline, photographs: list[Tensor]) -> None:
    image, *others = photographs
    first, second = (repair(pipeline, image, Blur(5), others, SETTINGS) for _ in range(2))
    assert torch.equal(first.image, second.image)
    assert first.log == second.log


def test_a_huge_prior_weight_predicts_the_first_candidate(
    pipeline: Pipeline, photographs: list[Tensor]
) -> None:
    image, *others = photographs
    repaired = {
        prior_weight: repair(
            pipeline, image, Blur(5), others, replace(SETTINGS, num_candidates=4, prior_weight=prior_weight)
        )
        for prior_weight in (0.0, 1e6)
    }
    firsts = [of_cell.ids[0] for of_cell in repaired[1e6].candidates.values()]
    assert (
        repaired[1e6].tokens.local_ids.flatten().tolist()
        == firsts
        != repaired[0.0].tokens.local_ids.flatten().tolist()
    )


def test_several_samples_of_a_corrupted_image_are_refused(
    pipeline: Pipeline, photographs: list[Tensor]
) -> None:
    with pytest.raises(V2LError, match="3 samples"):
        repair(
            pipeline,
            photographs[0],
            Blur(5),
            photographs[1:],
            replace(SETTINGS, num_samples=3, temperature=1.0),
        )


def test_the_most_similar_stretch_is_the_nearest_by_code_vectors(pipeline: Pipeline) -> None:
    codes = pipeline.tokenizer.local_codebook.token_ids
    generator = torch.Generator().manual_seed(0)
    own, *others = (codes[torch.randint(len(codes), (30,), generator=generator)].tolist() for _ in range(3))
    likeness = SimilarStretches(pipeline, own, others)
    entries = pipeline.tokenizer.quantizer.entries()
    row_of = pipeline.tokenizer.local_codebook.row_of_token

    def distance(image: int, start: int) -> float:
        pairs = zip(own[6:9], others[image][start : start + 3], strict=True)
        return sum((entries[row_of[a]] - entries[row_of[b]]).square().sum().item() for a, b in pairs)

    found = likeness.nearest([6, 7, 8], 5)
    brute = sorted(
        ((image, start) for image in (0, 1) for start in range(28)), key=lambda place: distance(*place)
    )[:5]
    assert [distance(*place) for place in found] == pytest.approx(
        [distance(*place) for place in brute], rel=1e-4
    )


def test_without_examples_there_is_nothing_to_learn_from(
    pipeline: Pipeline, photographs: list[Tensor]
) -> None:
    with pytest.raises(V2LError, match="--examples"):
        repair(pipeline, photographs[0], Blur(5), [], SETTINGS)


def test_a_corruption_that_moves_nothing_keeps_the_pixels_where_tokens_stay(
    pipeline: Pipeline, photographs: list[Tensor]
) -> None:
    image, *others = photographs
    done = repair(pipeline, image, Blur(5), others, SETTINGS)
    assert torch.allclose(done.decode(done.realigned[None]), image, atol=1e-6)
    assert not torch.allclose(done.image, image, atol=1e-2)
