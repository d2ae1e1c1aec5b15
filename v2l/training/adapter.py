"""photographs + tokenizer + LLM ──► a LoRA adapter that tells missing and damaged tokens.

Every lesson is blind, as its use is: pixels are hidden or damaged before the tokenizer sees them, and the answer is the clean image's
tokens. Which photograph a step sees, and what happens to it, is a function of seed and step alone: that is what makes resuming exact.
Source: V2L Tokenizer, arXiv 2403.07874, section 4.3, masked restoration; the recipe is ours, since the paper's is not published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from v2l.checkpoint import load_tensors, read_manifest, save_tensors, write_directory, write_manifest
from v2l.corruptions import Corruption, draw_corruption, lower_cells
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.llm import FrozenLLM
from v2l.llm.adapters import LoraShape, belongs_to, save_adapter
from v2l.llm.lora import Lesson, LoraTuner, Schedule
from v2l.prompts.whole_map import INSTRUCTIONS, paired, whole_map_prompt
from v2l.sources import ImageFile, image_size
from v2l.tokenizer.likeness import entries_of, expected
from v2l.tokenizer.model import V2LTokenizer
from v2l.training.interrupt import StopRequest
from v2l.training.state import load_optimizer_tensors, optimizer_tensors

KIND, SCHEMA = "adapter-training", 1
KINDS = tuple(INSTRUCTIONS)
MASKED = 0.3  # of the cells, when they are masked at random
MID_GREY = 0.5
SOFTNESS = 0.8  # squared distance of entries at which a token is e times less wanted than the right one
OnStep = Callable[[int, float], None]


@dataclass(frozen=True)
class LoraSettings:
    """A training run.

    Attributes:
        run: its folder: the state, and the adapter in adapter/.
        schedule: rate and steps.
        shape: of the adapter.
        kinds: what the lessons are about: mask, deblur, unshift, unrotate.
        lessons: in a step.
        save_every: steps between two saved states.
        seed: of the adapter's first weights, of the photographs' order and of what happens to them.
    """

    run: Path
    schedule: Schedule = field(default_factory=Schedule)
    shape: LoraShape = field(default_factory=LoraShape)
    kinds: tuple[str, ...] = KINDS
    lessons: int = 4
    save_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown or not self.kinds:
            raise V2LError(f"got the kind(s) of lesson {', '.join(unknown) or 'none'}", ", ".join(KINDS), "--kinds mask")
        if min(self.lessons, self.save_every) < 1:
            raise V2LError(f"got {self.lessons} lessons a step, saved every {self.save_every} steps", "1 and more")


@dataclass(frozen=True)
class Teacher:
    """What makes lessons of photographs.

    Attributes:
        tokenizer: images to tokens.
        llm: whose words they are.
        kinds: what the lessons are about.
        seed: of the order and of what happens to the photographs.
    """

    tokenizer: V2LTokenizer
    llm: FrozenLLM
    kinds: tuple[str, ...]
    seed: int = 0

    def lesson(self, images: Sequence[ImageFile], number: int) -> Lesson:
        """The lesson of one number, from 0, of all that there will ever be.

        Raises:
            V2LError: its photograph cannot be read.
        """
        epoch, place = divmod(number, len(images))
        order = Random(self.seed * 1_000_003 + epoch).sample(range(len(images)), len(images))
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        kind = self.kinds[number % len(self.kinds)]
        return self.teach(load_image(images[order[place]]), kind, generator)

    def teach(self, photograph: Tensor, kind: str, generator: torch.Generator) -> Lesson:
        """A photograph (3, H, W), damaged ──► the prompt with a first guess of its tokens, and the clean ones.

        Hidden cells are guessed from those around, as in use; moved ones stand where the damage, which the teacher knows, took them from.
        """
        clean = self.tokenizer.square(photograph[None])
        answer = self.tokenizer.encode_local(clean)[0].cpu()
        grid = (answer.shape[0], answer.shape[1])
        if kind == "mask":
            hidden = masked_cells(grid, generator)
            seen = self.tokenizer.encode_local(torch.where(self.pixels(hidden), MID_GREY, clean))[0].cpu()
            guess = seen.clone()
            guess[hidden] = torch.tensor([best for best, *_ in expected(self.tokenizer, seen, hidden, 1)])
            answer = torch.where(hidden, answer, seen)
        else:
            hidden = torch.ones(grid, dtype=torch.bool)
            corruption = draw_corruption(kind, generator)
            seen = self.tokenizer.encode_local(corruption.damage(clean).contiguous())[0].cpu()
            guess = seen.flatten()[self.cells_before(corruption, grid)]
        cells = hidden.flatten().nonzero().flatten()
        return Lesson(
            self.llm.encode(whole_map_prompt(kind)),
            paired(guess.flatten().tolist(), answer.flatten().tolist()),
            (2 * cells + 1).tolist(),
            self.tokenizer.local_codebook.token_ids,
            self.alike(answer.flatten()[cells]),
        )

    def alike(self, ids: Tensor) -> Tensor:
        """How likely each entry of the codebook is to stand for each of n tokens, by the distance of their entries: (n, V) float32."""
        with torch.inference_mode():
            entries = self.tokenizer.quantizer.entries().float().cpu()
        return (-torch.cdist(entries_of(self.tokenizer, ids), entries).square() / SOFTNESS).softmax(dim=1)

    def pixels(self, cells: Tensor) -> Tensor:
        """Cells (h, w) ──► (H, W), each as many pixels wide and high as a token covers."""
        return cells.repeat_interleave(self.tokenizer.factor, 0).repeat_interleave(self.tokenizer.factor, 1)

    def cells_before(self, corruption: Corruption, grid: tuple[int, int]) -> Tensor:
        """For every clean cell in raster order the damaged one to which the middle of its content went: (h · w,) int64."""
        numbers = self.pixels(torch.arange(grid[0] * grid[1]).view(grid)).float()[None]
        back, middle = corruption.undo(numbers), self.tokenizer.factor // 2
        return (numbers if back is None else back)[0, middle :: self.tokenizer.factor, middle :: self.tokenizer.factor].flatten().long()


def masked_cells(grid: tuple[int, int], generator: torch.Generator) -> Tensor:
    """(h, w) bool, one of three by chance: 30 % of the cells, a box of a quarter to three quarters of each side, or the lower half."""
    height, width = grid
    choice = int(torch.randint(3, (), generator=generator))
    if choice == 0:
        order = torch.randperm(height * width, generator=generator)
        return (order < max(1, round(MASKED * height * width))).view(grid)
    if choice == 1:
        return lower_cells(grid)
    cells = torch.zeros(grid, dtype=torch.bool)
    rows, columns = (box_side(side, generator) for side in grid)
    cells[rows, columns] = True
    return cells


def box_side(length: int, generator: torch.Generator) -> slice:
    """A stretch of a quarter to three quarters of a side."""
    size = int(torch.randint(max(1, length // 4), max(2, 3 * length // 4 + 1), (), generator=generator))
    start = int(torch.randint(length - size + 1, (), generator=generator))
    return slice(start, start + size)


def train_adapter(
    teacher: Teacher, images: Sequence[ImageFile], codebook: str, settings: LoraSettings, on_step: OnStep | None = None
) -> int:
    """Train an adapter, or go on with one; returns how many steps are done. Ctrl-C ends after a step, with all that is done saved.

    Args:
        teacher: makes the lessons; its LLM's weights are not changed, but carry the adapter afterwards.
        images: photographs, all readable.
        codebook: fingerprint of the local codebook.
        settings: the run.
        on_step: told (steps done, loss) after each.

    Raises:
        V2LError: the run in the folder is another one, a photograph cannot be read, a lesson is longer than the LLM's context, or the disk
            is full.
    """
    bound = belongs_to(teacher.llm, codebook)
    facts = bound | {"settings": told_settings(settings), "photographs": listed(images)}
    tuner = LoraTuner(teacher.llm, settings.shape, settings.schedule, settings.seed)
    state = settings.run / "state"
    done = load_state(tuner, state, facts) if state.is_dir() else 0
    with StopRequest() as stop:
        while done < settings.schedule.steps and not stop.requested:
            lessons = [teacher.lesson(images, done * settings.lessons + place) for place in range(settings.lessons)]
            loss = tuner.step(done, lessons)
            done += 1
            if on_step:
                on_step(done, loss)
            if done % settings.save_every == 0 or done == settings.schedule.steps or stop.requested:
                save_state(tuner, state, done, facts)
    trained = {"llm": teacher.llm.name, "steps": done, **told_settings(settings), **bound}
    save_adapter(tuner.model, settings.run / "adapter", settings.shape, trained)
    return done


def told_settings(settings: LoraSettings) -> dict[str, Any]:
    """What must be the same when a run goes on."""
    return {
        "schedule": asdict(settings.schedule),
        "targets": list(settings.shape.targets),
        "rank": settings.shape.rank,
        "alpha": settings.shape.alpha,
        "kinds": list(settings.kinds),
        "lessons": settings.lessons,
        "seed": settings.seed,
    }


def listed(images: Sequence[ImageFile]) -> str:
    """How many photographs, and a hash of their names and sizes."""
    names = "\n".join(f"{image.name} {image_size(image)}" for image in images)
    return f"{len(images):,} with fingerprint {hashlib.sha256(names.encode(errors='surrogateescape')).hexdigest()[:16]}"


def save_state(tuner: LoraTuner, folder: Path, step: int, facts: Mapping[str, Any]) -> None:
    """Write weights and moments as one directory, in place of an older one."""
    with write_directory(folder) as draft:
        save_tensors(draft / "weights.safetensors", tuner.weights)
        save_tensors(draft / "optimizer.safetensors", optimizer_tensors(tuner.optimizer))
        write_manifest(draft, {"kind": KIND, "schema": SCHEMA, "step": step, "facts": dict(facts)})


def load_state(tuner: LoraTuner, folder: Path, facts: Mapping[str, Any]) -> int:
    """Go back to a saved state; returns its step.

    Raises:
        V2LError: it is damaged, or belongs to a run with other facts.
    """
    manifest = read_manifest(folder, KIND, SCHEMA)
    changed = [name for name, now in facts.items() if manifest["facts"].get(name) != now]
    if changed:
        told = ", ".join(f"{name} = {manifest['facts'].get(name)}, now {facts[name]}" for name in changed)
        raise V2LError(f"{folder} cannot go on: it was made with {told}", "the same settings, models and photographs", "-o ANOTHER_FOLDER")
    weights = load_tensors(folder / "weights.safetensors")
    with torch.no_grad():
        for name, weight in tuner.weights.items():
            weight.copy_(weights[name])
    load_optimizer_tensors(tuner.optimizer, load_tensors(folder / "optimizer.safetensors"))
    return manifest["step"]
