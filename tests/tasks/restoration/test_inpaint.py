"""Inpainting is blind, keeps every visible bit, and writes words of the codebook only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from v2l.errors import V2LError
from v2l.images import load_image
from v2l.masks import box_mask, centre_mask
from v2l.pipeline.pipeline import Pipeline
from v2l.tasks.restoration.inpaint import inpaint
from v2l.tasks.restoration.settings import RestorationSettings


@pytest.fixture(scope="module")
def image(samples: Path) -> Tensor:
    """A photograph of 200 × 150 pixels, neither square nor a multiple of eight."""
    return load_image(sorted(samples.rglob("*.jpg"))[0])[:, :150, :200].clone()


def noise_under(image: Tensor, mask: Tensor, seed: int = 0) -> Tensor:
    """The image with other pixels under the mask."""
    return torch.where(mask, torch.rand(image.shape, generator=torch.Generator().manual_seed(seed)), image)


@pytest.mark.parametrize("box", [(50, 40, 150, 110), (0, 0, 90, 60), (0, 100, 200, 150), (7, 9, 8, 10)])
def test_masked_pixels_change_nothing(
    pipeline: Pipeline, image: Tensor, box: tuple[int, int, int, int]
) -> None:
    mask = box_mask(box, image.shape[-2:])
    first, second = inpaint(pipeline, image, mask), inpaint(pipeline, noise_under(image, mask), mask)
    assert first.log == second.log  # the prompts' tokens and the answers
    assert torch.equal(first.tokens.local_ids, second.tokens.local_ids)
    assert torch.equal(first.tokens.global_ids, second.tokens.global_ids)
    assert torch.equal(first.image[:, mask], second.image[:, mask])


def test_visible_pixels_stay_bit_equal_at_the_images_own_size(pipeline: Pipeline, image: Tensor) -> None:
    mask = centre_mask(image.shape[-2:])
    filled = inpaint(pipeline, image, mask).image
    assert filled.shape == image.shape
    assert torch.equal(filled[:, ~mask], image[:, ~mask])
    assert not torch.equal(filled[:, mask], image[:, mask])
    assert 0 <= filled.min() <= filled.max() <= 1


def test_every_hidden_cell_is_predicted_once_with_a_token_of_the_codebook(
    pipeline: Pipeline, image: Tensor
) -> None:
    done = inpaint(pipeline, image, centre_mask(image.shape[-2:]))
    predicted = [cell for window in done.log for cell in window.cells]
    assert predicted == done.hidden.flatten().nonzero().flatten().tolist()
    words = set(pipeline.tokenizer.local_codebook.token_ids.tolist())
    assert {token for window in done.log for token in window.ids} <= words
    ids = done.tokens.local_ids.flatten()
    assert [int(ids[cell]) for cell in predicted] == [token for window in done.log for token in window.ids]


def test_visible_cells_keep_their_tokens(pipeline: Pipeline, image: Tensor) -> None:
    mask = centre_mask(image.shape[-2:])
    done = inpaint(pipeline, image, mask)
    again = inpaint(pipeline, image, mask, RestorationSettings(temperature=5.0, seed=9))
    assert not torch.equal(done.tokens.local_ids, again.tokens.local_ids)
    assert torch.equal(done.tokens.local_ids[0][~done.hidden], again.tokens.local_ids[0][~done.hidden])


def test_predicted_tokens_become_context(pipeline: Pipeline, image: Tensor) -> None:
    done = inpaint(pipeline, image, centre_mask(image.shape[-2:]), RestorationSettings(n_context=3))
    for before, after in zip(done.log, done.log[1:], strict=False):
        if after.cells[0] == before.cells[-1] + 1:
            assert after.given[-len(before.ids) :] == before.ids


def test_the_log_is_a_full_prompts_answer(pipeline: Pipeline, image: Tensor) -> None:
    """The examples, read once, and the query after them give what one whole prompt gives."""
    from v2l.llm import GenerationConfig, PositionIds
    from v2l.prompts.denoise import denoise_prompt
    from v2l.tasks.restoration.inpaint import InpaintingPredictor

    settings = RestorationSettings(n_context=6, n_examples=4)
    done = inpaint(pipeline, image, centre_mask(image.shape[-2:]), settings)
    predictor = InpaintingPredictor(
        pipeline, done.tokens.local_ids[0], done.hidden, settings, done.candidates
    )
    for prediction in done.log:
        prompt = denoise_prompt(predictor.examples[0], prediction.given, settings.n_predict, settings.prompt)
        (whole,) = pipeline.llm.generate(
            [prompt],
            GenerationConfig(
                len(prediction.ids), allowed=PositionIds(predictor.allowed(prediction.cells)), ends=False
            ),
        )
        assert whole.ids == prediction.ids
        assert whole.loglikelihood == pytest.approx(prediction.loglikelihood, abs=1e-3)


@pytest.mark.parametrize("limit", [0, 5])
def test_predictions_come_from_the_candidates_or_the_whole_codebook(
    pipeline: Pipeline, image: Tensor, limit: int
) -> None:
    done = inpaint(pipeline, image, centre_mask(image.shape[-2:]), RestorationSettings(num_candidates=limit))
    seen = set(done.tokens.local_ids[0][~done.hidden].tolist())
    predicted = {token for window in done.log for token in window.ids}
    assert (predicted <= seen) is (limit > 0)


@pytest.mark.parametrize("size", [(16, 17), (16, 300), (333, 18), (64, 64)])
def test_images_of_any_size_are_filled(pipeline: Pipeline, size: tuple[int, int]) -> None:
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(size, dtype=torch.bool)
    mask[0, 0] = True
    done = inpaint(pipeline, image, mask, RestorationSettings(n_examples=2, n_context=4))
    assert done.image.shape == image.shape
    assert torch.equal(done.image[:, ~mask], image[:, ~mask])


def test_equal_seeds_give_equal_pictures_and_progress_reaches_the_end(
    pipeline: Pipeline, image: Tensor
) -> None:
    mask, steps = centre_mask(image.shape[-2:]), []
    settings = RestorationSettings(temperature=2.0, top_k=50, seed=4)
    first = inpaint(pipeline, image, mask, settings, progress=lambda *step: steps.append(step))
    assert torch.equal(first.image, inpaint(pipeline, image, mask, settings).image)
    assert steps == [("windows", number + 1, len(first.log)) for number in range(len(first.log))]


def test_without_a_visible_stretch_there_are_no_examples_and_still_an_answer(pipeline: Pipeline) -> None:
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(2))
    mask = torch.ones(64, 64, dtype=torch.bool)
    mask[:8, :8] = False  # one visible cell
    done = inpaint(pipeline, image, mask)
    assert int(done.hidden.sum()) == 63
    assert done.log[0].given == (int(done.tokens.local_ids[0, 0, 0]),)


def test_a_mask_that_touches_every_token_is_refused(pipeline: Pipeline, image: Tensor) -> None:
    mask = torch.zeros(64, 64, dtype=torch.bool)
    mask[::4] = True
    with pytest.raises(V2LError, match=r"touches all 64 tokens.*a smaller mask"):
        inpaint(pipeline, image[:, :64, :64], mask)


@pytest.mark.parametrize(
    "mask",
    [torch.zeros(150, 200), torch.zeros(150, 200) > 0, torch.zeros(150, 200) < 1, torch.zeros(9, 9) < 1],
)
def test_masks_that_do_not_fit_are_refused(pipeline: Pipeline, image: Tensor, mask: Tensor) -> None:
    with pytest.raises(V2LError):
        inpaint(pipeline, image, mask)


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "haiku"},
        {"n_context": -1},
        {"n_predict": 0},
        {"n_examples": -1},
        {"temperature": -0.5},
        {"top_k": -1},
        {"num_candidates": -1},
    ],
)
def test_settings_out_of_range_are_refused(change: dict) -> None:
    with pytest.raises(V2LError, match=next(iter(change))):
        replace(RestorationSettings(), **change)


def test_an_image_smaller_than_one_window_is_refused(pipeline: Pipeline) -> None:
    with pytest.raises(V2LError, match=r"5 × 40 pixels.*16 and more"):
        inpaint(pipeline, torch.rand(3, 40, 5), centre_mask((40, 5)))


def test_a_prompt_beyond_the_context_is_refused_with_a_remedy(pipeline: Pipeline, image: Tensor) -> None:
    with pytest.raises(V2LError, match="fewer"):
        inpaint(
            pipeline,
            image,
            centre_mask(image.shape[-2:]),
            RestorationSettings(n_examples=200, n_context=4, prompt="paper"),
        )
