"""An adapter learns, is resumed exactly, is bound to its LLM and codebook, and leaves the LLM's own weights alone."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_llm import byte_level_tokenizer, tiny_model
from tiny_stack import tiny_stack

import v2l.training.adapter as module
from v2l.corruptions import Blur, Corruption, Rotation, Shift
from v2l.errors import V2LError
from v2l.llm import FrozenLLM
from v2l.llm.adapters import LoraShape, adapt
from v2l.llm.lora import Lesson, LoraTuner, Schedule
from v2l.sources import ImageFile, find_images
from v2l.tasks import Stack
from v2l.training.adapter import KINDS, LoraSettings, Teacher, masked_cells, train_adapter


class StoppedError(Exception):
    """The machine goes down."""


def teacher_of(stack: Stack, kinds: tuple[str, ...] = KINDS) -> Teacher:
    return Teacher(stack.tokenizer, stack.llm, kinds)


@pytest.fixture(scope="module")
def files(samples: Path) -> list[ImageFile]:
    return find_images(samples)[:3]


@pytest.fixture
def settings(tmp_path: Path) -> LoraSettings:
    return LoraSettings(tmp_path / "run", Schedule(1e-2, 6, 1), lessons=2, save_every=2)


def adapter_bytes(settings: LoraSettings) -> bytes:
    return (settings.run / "adapter" / "adapter.safetensors").read_bytes()


def test_the_adapter_learns_its_lesson_and_the_llm_keeps_its_weights() -> None:
    stack = tiny_stack()
    before = {name: weight.clone() for name, weight in stack.llm.model.state_dict().items()}
    tuner = LoraTuner(stack.llm, LoraShape(), Schedule(2e-2, 60, 1))
    lesson = lesson_of(list(range(30, 60)), [70, 71, 72, 73], [0, 1, 2, 3])
    losses = [tuner.step(number, [lesson]) for number in range(60)]
    assert losses[-1] < losses[0] - 1
    after = {name.replace(".base_layer", "").removeprefix("base_model.model."): weight for name, weight in tuner.model.state_dict().items()}
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def lesson_of(prompt: list[int], answer: list[int], asked: list[int]) -> Lesson:
    """A lesson that wants the answer and nothing else."""
    codes = torch.arange(40, 80)
    return Lesson(prompt, answer, asked, codes, torch.eye(len(codes))[[answer[place] - 40 for place in asked]])


def test_the_loss_is_the_divergence_from_what_is_wanted_where_it_is_asked() -> None:
    stack = tiny_stack()
    lesson = lesson_of([40, 41, 42], [50, 51, 52], [0, 2])
    with torch.inference_mode():
        logits = stack.llm.model(input_ids=torch.tensor([[40, 41, 42, 50, 51, 52]])).logits[0]
    logprobs = logits[:, 40:80].log_softmax(dim=-1)
    expected = -(logprobs[2, 50 - 40] + logprobs[4, 52 - 40]) / 2
    assert LoraTuner(stack.llm, LoraShape(), Schedule()).loss(lesson).item() == pytest.approx(expected.item(), rel=1e-4)
    half = lesson._replace(wanted=lesson.wanted / 2 + lesson.wanted.roll(1, dims=1) / 2)
    torn = -(logprobs[2, 10] + logprobs[2, 11] + logprobs[4, 12] + logprobs[4, 13]) / 4 - math.log(2)
    assert LoraTuner(tiny_stack().llm, LoraShape(), Schedule()).loss(half).item() == pytest.approx(torn.item(), rel=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_lessons_show_a_guess_before_every_token_and_ask_for_what_is_missing(stack_: Stack, samples: Path, kind: str) -> None:
    teacher = teacher_of(stack_)
    photograph = module.load_image(samples / "hat" / "straw.jpg")
    lesson = teacher.teach(photograph, kind, torch.Generator().manual_seed(1))
    clean = stack_.tokenizer.encode_local(stack_.tokenizer.square(photograph[None]))[0].flatten().tolist()
    hidden = masked_cells((8, 8), torch.Generator().manual_seed(1)).flatten().tolist() if kind == "mask" else [True] * 64
    guesses, tokens = lesson.answer[::2], lesson.answer[1::2]
    assert lesson.asked == [2 * cell + 1 for cell in range(64) if hidden[cell]]
    assert [tokens[cell] for cell in range(64) if hidden[cell]] == [clean[cell] for cell in range(64) if hidden[cell]]
    assert [guesses[cell] for cell in range(64) if not hidden[cell]] == [tokens[cell] for cell in range(64) if not hidden[cell]]
    assert lesson.codes[lesson.wanted.argmax(dim=1)].tolist() == [clean[cell] for cell in range(64) if hidden[cell]]
    assert torch.allclose(lesson.wanted.sum(dim=1), torch.ones(sum(hidden)))
    again = teacher.teach(photograph, kind, torch.Generator().manual_seed(1))
    assert (again.answer, again.asked) == (lesson.answer, lesson.asked)


def test_hidden_pixels_do_not_reach_the_guesses(stack_: Stack) -> None:
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    hidden = masked_cells((8, 8), torch.Generator().manual_seed(4))
    noise = torch.where(teacher_of(stack_).pixels(hidden), torch.rand(3, 64, 64), image)
    first, second = (teacher_of(stack_).teach(pixels, "mask", torch.Generator().manual_seed(4)) for pixels in (image, noise))
    assert first.answer[::2] == second.answer[::2]
    assert first.answer != second.answer


@pytest.mark.parametrize("corruption", [Shift(0.25, -0.125), Rotation(1), Blur(5)], ids=str)
def test_guesses_of_moved_content_stand_where_it_belongs(stack_: Stack, corruption: Corruption) -> None:
    teacher = teacher_of(stack_)
    numbers = teacher.pixels(torch.arange(64).view(8, 8)).float()[None]
    damaged = numbers if isinstance(corruption, Blur) else corruption.damage(numbers)
    assert damaged[0, 4::8, 4::8].flatten()[teacher.cells_before(corruption, (8, 8))].tolist() == list(range(64))


@pytest.fixture(scope="module", name="stack_")
def one_stack() -> Stack:
    return tiny_stack()


def test_masks_are_of_three_kinds_and_never_empty_or_full() -> None:
    generator = torch.Generator().manual_seed(0)
    masks = [masked_cells((8, 8), generator) for _ in range(60)]
    assert all(0 < int(mask.sum()) < 64 for mask in masks)
    assert len({tuple(mask.flatten().tolist()) for mask in masks}) > 20
    assert any(int(mask.sum()) == round(0.3 * 64) for mask in masks)


def test_stopped_and_gone_on_is_the_same_as_straight(files: list[ImageFile], settings: LoraSettings, tmp_path: Path) -> None:
    assert train_adapter(teacher_of(tiny_stack()), files, "codes", settings) == 6
    second = replace(settings, run=tmp_path / "second")

    def stop(step: int, loss: float) -> None:
        if step == 5:  # the last state is of step 4
            raise StoppedError

    with pytest.raises(StoppedError):
        train_adapter(teacher_of(tiny_stack()), files, "codes", second, stop)
    steps: list[int] = []
    assert train_adapter(teacher_of(tiny_stack()), files, "codes", second, lambda step, loss: steps.append(step)) == 6
    assert steps == [5, 6]
    assert adapter_bytes(second) == adapter_bytes(settings)


def test_a_run_with_other_settings_is_refused(files: list[ImageFile], settings: LoraSettings) -> None:
    short = replace(settings, schedule=Schedule(1e-2, 2, 1))
    train_adapter(teacher_of(tiny_stack()), files, "codes", short)
    with pytest.raises(V2LError, match="ANOTHER_FOLDER"):
        train_adapter(teacher_of(tiny_stack()), files, "codes", settings)


def test_an_adapter_changes_the_llm_that_it_belongs_to_and_no_other(files: list[ImageFile], settings: LoraSettings) -> None:
    stack = tiny_stack()
    train_adapter(teacher_of(stack), files, stack.codebook_fingerprint, settings)
    folder = settings.run / "adapter"
    tuned, plain = Stack(stack.tokenizer, tiny_stack().llm, adapter=folder), tiny_stack()
    ids = torch.tensor([[40, 41, 42]])
    with torch.inference_mode():
        assert not torch.equal(tuned.llm.model(input_ids=ids).logits, plain.llm.model(input_ids=ids).logits)
    assert tuned.llm.adapter == str(folder)
    assert tuned.describe()["adapter"] == str(folder)
    assert not any(parameter.requires_grad for parameter in tuned.llm.model.parameters())
    with pytest.raises(V2LError, match="another codebook"):
        adapt(tiny_stack().llm, folder, "another")
    wider = byte_level_tokenizer()
    wider.add_tokens(["<new>"])
    other = FrozenLLM(tiny_model(len(wider), 0), wider, "other")
    with pytest.raises(V2LError, match="another LLM"):
        adapt(other, folder, stack.codebook_fingerprint)


def test_a_tuned_llm_tells_whole_maps_and_stays_blind(files: list[ImageFile], settings: LoraSettings) -> None:
    from v2l.images import centre_mask, load_image
    from v2l.tasks import RestorationSettings, inpaint
    from v2l.tasks.repair import repair

    stack = tiny_stack()
    train_adapter(teacher_of(stack), files, stack.codebook_fingerprint, settings)
    tuned = Stack(stack.tokenizer, tiny_stack().llm, adapter=settings.run / "adapter")
    image = load_image(files[0])[:, :100, :100]
    mask = centre_mask((100, 100))
    noise = torch.where(mask, torch.rand(3, 100, 100), image)
    first, second = (inpaint(tuned, pixels, mask, RestorationSettings(candidates=2, temperature=1.0)) for pixels in (image, noise))
    assert first.log == second.log
    assert torch.equal(first.tokens.local_ids, second.tokens.local_ids)
    assert len(first.log) == 1
    assert len(first.log[0].ids) == int(first.hidden.sum())
    assert max(first.candidates) == first.log[0].loglikelihood
    turned = repair(tuned, image, Rotation(1), [image])
    assert len(turned.log[0].ids) == 64


@pytest.mark.parametrize("change", [{"kinds": ("juggle",)}, {"kinds": ()}, {"lessons": 0}])
def test_settings_without_sense_are_refused(settings: LoraSettings, change: dict) -> None:
    with pytest.raises(V2LError):
        replace(settings, **change)


def test_layers_that_are_not_there_and_rates_without_sense_are_refused() -> None:
    with pytest.raises(V2LError, match="q_proj"):
        LoraTuner(tiny_stack().llm, LoraShape(targets=("wq",)), Schedule())
    with pytest.raises(V2LError, match="a rate above 0"):
        Schedule(rate=0)
    with pytest.raises(V2LError, match="--rank 4"):
        LoraShape(rank=0)
