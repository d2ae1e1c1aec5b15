"""photographs + tokenizer + LLM ──► a LoRA adapter that chooses among the tokens that may stand where one is missing or damaged.

Every lesson is a whole map by the blind protocol, as in use: pixels are hidden or damaged before the tokenizer sees them, and the tokens to
choose among are those that the LLM would be given. A choice costs the squared distance of its entry from the clean image's. Which
photographs a lesson sees, and what happens to them, is a function of seed and number alone: that is what makes resuming exact.
Source: V2L Tokenizer, arXiv 2403.07874, section 4.3, masked restoration; the recipe is ours, since the paper's is not published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from v2l.checkpoint import load_tensors, read_manifest, save_tensors, write_directory, write_manifest
from v2l.corruptions import Corruption, draw_corruption, lower_cells
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.llm.adapters import LoraShape, belongs_to, save_adapter
from v2l.llm.lora import CALM, Lesson, LoraTuner, Schedule
from v2l.pipeline.pipeline import Pipeline
from v2l.sources import ImageFile, image_size
from v2l.tasks.restoration.inpaint import MID_GREY, InpaintingPredictor, cell_candidates
from v2l.tasks.restoration.repair import CorruptionPredictor, find_source_cells, realigned_pairs, token_pair
from v2l.tasks.restoration.settings import ADAPTER, RestorationSettings, stored
from v2l.tasks.restoration.token_prior import code_vectors, visual_features
from v2l.tasks.restoration.whole_map import MapQuery
from v2l.training.interrupt import StopRequest
from v2l.training.state import load_optimizer_tensors, optimizer_tensors

KIND, SCHEMA = "adapter-training", 3  # 1 and 2 had other lessons
KINDS = ("mask", "deblur", "unshift", "unrotate")
MASKED = 0.3  # of the cells, when they are masked at random
LESSON = replace(
    ADAPTER, prior_weight=CALM
)  # training divides all scores by it: what is expected then counts once
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
            raise V2LError(
                f"got the kind(s) of lesson {', '.join(unknown) or 'none'}", ", ".join(KINDS), "--kinds mask"
            )
        if min(self.lessons, self.save_every) < 1:
            raise V2LError(
                f"got {self.lessons} lessons a step, saved every {self.save_every} steps", "1 and more"
            )


@dataclass(frozen=True)
class Teacher:
    """What makes lessons of photographs.

    Attributes:
        pipeline: tokenizer and LLM.
        kinds: what the lessons are about.
        asking: how the LLM is asked, as it will be in use, with a prior_weight of its own.
        examples: other photographs that show what a damage does.
        seed: of the order and of what happens to the photographs.
    """

    pipeline: Pipeline
    kinds: tuple[str, ...] = KINDS
    asking: RestorationSettings = LESSON
    examples: int = 8
    seed: int = 0

    def lesson(self, images: Sequence[ImageFile], number: int) -> Lesson:
        """The lesson of one number, from 0, of all that there will ever be.

        Raises:
            V2LError: a photograph cannot be read.
        """
        epoch, place = divmod(number, len(images))
        order = Random(self.seed * 1_000_003 + epoch).sample(range(len(images)), len(images))
        kind = self.kinds[number % len(self.kinds)]
        others = 0 if kind == "mask" else min(self.examples, len(images) - 1)
        chosen = [order[(place + step) % len(images)] for step in range(1 + others)]
        photograph, *shown = (load_image(images[index]) for index in chosen)
        return self.teach(
            photograph, shown, kind, torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        )

    def teach(
        self, photograph: Tensor, others: Sequence[Tensor], kind: str, generator: torch.Generator
    ) -> Lesson:
        """A photograph (3, H, W), with hidden cells or damaged as others are ──► what the LLM would be asked, and what answers cost."""
        tokenizer, llm = self.pipeline.tokenizer, self.pipeline.llm
        clean = tokenizer.square(photograph[None])
        answer = tokenizer.encode_local(clean)[0].cpu()
        if kind == "mask":
            question = self.hidden(clean, masked_cells((answer.shape[0], answer.shape[1]), generator))
        else:
            question = self.damaged(clean, draw_corruption(kind, generator), others)
        prompt = question.prompt
        costs = [
            self.costs(allowed.ids, answer.flatten()[cell])
            for cell, allowed in zip(question.cells, question.allowed, strict=True)
        ]
        return Lesson(
            llm.encode(prompt.prompt),
            llm.places(prompt.prompt, prompt.answers),
            list(question.allowed),
            costs,
        )

    def hidden(self, clean: Tensor, hidden: Tensor) -> MapQuery:
        """A photograph (1, 3, S, S) of which some cells, (h, w) bool, are hidden."""
        tokenizer = self.pipeline.tokenizer
        mask = hidden.repeat_interleave(tokenizer.factor, 0).repeat_interleave(tokenizer.factor, 1)
        seen = tokenizer.encode_local(torch.where(mask, MID_GREY, clean))[0].cpu()
        return InpaintingPredictor(
            self.pipeline,
            seen,
            hidden,
            self.asking,
            cell_candidates(self.pipeline, seen, hidden, self.asking),
        ).map_query()

    def damaged(self, clean: Tensor, corruption: Corruption, others: Sequence[Tensor]) -> MapQuery:
        """A photograph (1, 3, S, S), damaged, beside other ones (3, H, W) that are damaged alike."""
        size, factor = (clean.shape[-2], clean.shape[-1]), self.pipeline.tokenizer.factor
        seen = self.pipeline.tokenizer.encode_local(corruption.apply(clean).contiguous())[0].cpu()
        pairs = [token_pair(self.pipeline, other, corruption, size) for other in others]
        source = find_source_cells(
            self.pipeline, pairs, (size[0] // factor, size[1] // factor), (seen.shape[0], seen.shape[1])
        )
        moved = tuple(seen.flatten()[source].tolist())
        return CorruptionPredictor(
            self.pipeline, moved, size[1] // factor, realigned_pairs(pairs, source), self.asking
        ).map_query()

    def costs(self, ids: Tensor, answer: Tensor) -> Tensor:
        """How much farther each of n tokens lies from the clean one than the nearest of them does: (n,) float32, squared distances."""
        tokenizer = self.pipeline.tokenizer
        distances = (code_vectors(tokenizer, ids) - code_vectors(tokenizer, answer)).square().sum(dim=1)
        return distances - distances.min()


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
    teacher: Teacher, images: Sequence[ImageFile], settings: LoraSettings, on_step: OnStep | None = None
) -> int:
    """Train an adapter, or go on with one; returns how many steps are done. Ctrl-C ends after a step, with all that is done saved.

    Args:
        teacher: makes the lessons; its LLM's weights are not changed, but carry the adapter afterwards.
        images: photographs, all readable.
        settings: the run.
        on_step: told (steps done, loss) after each.

    Raises:
        V2LError: the run in the folder is another one, a photograph cannot be read, a lesson is longer than the LLM's context, or the disk
            is full.
    """
    llm, codebook = teacher.pipeline.llm, teacher.pipeline.codebook_fingerprint
    bound = belongs_to(llm, codebook)
    lesson = {"asking": stored(teacher.asking), "examples": teacher.examples}
    facts = bound | {"settings": told_settings(settings), "lesson": lesson, "photographs": listed(images)}
    sight = visual_features(teacher.pipeline.tokenizer, llm.model.get_input_embeddings().num_embeddings)
    tuner = LoraTuner(llm, settings.shape, settings.schedule, settings.seed, sight)
    state = settings.run / "state"
    done = load_state(tuner, state, facts) if state.is_dir() else 0
    with StopRequest() as stop:
        while done < settings.schedule.steps and not stop.requested:
            lessons = [
                teacher.lesson(images, done * settings.lessons + place) for place in range(settings.lessons)
            ]
            loss = tuner.step(done, lessons)
            done += 1
            if on_step:
                on_step(done, loss)
            if done % settings.save_every == 0 or done == settings.schedule.steps or stop.requested:
                save_state(tuner, state, done, facts)
    trained = {"llm": llm.name, "steps": done, **told_settings(settings), **bound}
    save_adapter(tuner.model, settings.run / "adapter", tuner.shape, trained)
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
        raise V2LError(
            f"{folder} cannot go on: it was made with {told}",
            "the same settings, models and photographs",
            "-o ANOTHER_FOLDER",
        )
    weights = load_tensors(folder / "weights.safetensors")
    with torch.no_grad():
        for name, weight in tuner.weights.items():
            weight.copy_(weights[name])
    load_optimizer_tensors(tuner.optimizer, load_tensors(folder / "optimizer.safetensors"))
    return manifest["step"]
