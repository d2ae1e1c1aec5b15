"""features of corrupted grids + frozen LLM ──► the linear layers around the LLM that restore them.

The loss is the squared error of the predicted features, in units of their variance. Gradients flow through
the LLM; its weights stay as they are. Source: LM4LV, arXiv 2405.15734, section 3; the linear map that is
fitted first is ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from v2l.errors import V2LError
from v2l.pipeline.pipeline import Pipeline
from v2l.processes import Accelerator, start_processes
from v2l.progress import Progress, silent
from v2l.sources import ImageFile
from v2l.tasks.restoration.restorer import (
    RIDGE,
    TASKS,
    Restorer,
    RestorerSettings,
    check_body,
    to_fields,
    width_of_control,
)
from v2l.training.loop import LoopSettings, OnStep, TrainingLoop
from v2l.training.optimizer_step import OptimizerStep
from v2l.training.plan import Plan, plan_run
from v2l.training.recipe import Loss, Recipe, Terms
from v2l.training.recipes.restorer_data import (
    Batch,
    RestorationBatches,
    RestorationFeatures,
    restoration_features,
    split_photographs,
)
from v2l.training.schedule import WarmupCosine

RESTORER = "restorer"
FIT_BATCH = 64  # photographs at a time, while the linear maps are fitted


@dataclass(frozen=True)
class RestorerRun:
    """A training run of a restorer.

    Attributes:
        run: its folder: states, log, and the restorer in restorer/.
        body: what stands between the linear layers; one of `restorer.BODIES`.
        field: cells a side that are one vector of it.
        rate: the highest learning rate.
        steps: optimizer steps.
        warmup: the first steps, in which the rate rises.
        batch_size: photographs in a step of one process.
        save_every: steps between two saved states, and between two validations.
        log_every: steps between two lines of the log.
    """

    run: Path
    body: str = "llm"
    field: int = 2
    rate: float = 2e-3
    steps: int = 500
    warmup: int = 20
    batch_size: int = 8
    save_every: int = 50
    log_every: int = 10

    def __post_init__(self) -> None:
        check_body(self.body, self.field)
        if self.rate <= 0 or min(self.steps, self.batch_size, self.save_every, self.log_every) < 1:
            raise V2LError(
                f"got rate {self.rate}, {self.steps} steps of {self.batch_size} photographs",
                "a rate above 0, and 1 and more of the others",
            )

    @property
    def schedule(self) -> WarmupCosine:
        """The learning rate by the step."""
        return WarmupCosine(self.rate, self.steps, min(self.warmup, self.steps))

    @property
    def loop(self) -> LoopSettings:
        """The settings of the loop."""
        return LoopSettings(
            self.run, self.steps, self.save_every, log_every=self.log_every, validate_every=self.save_every
        )


class RestorerRecipe(Recipe[Batch]):
    """A restorer in training.

    Args:
        restorer: with its LLM.
        data: features of photographs, of which a few only watch the training.
        settings: the run.
        processes: the processes that train together.
        seed: of everything that is drawn.
    """

    name, result = "restorer", RESTORER
    fit_steps = (0,)

    def __init__(
        self,
        restorer: Restorer,
        data: RestorationFeatures,
        settings: RestorerRun,
        processes: Accelerator,
        seed: int = 0,
    ) -> None:
        self.restorer, self.settings = restorer.to(processes.device).train(), settings
        self.processes, self.seed, self.schedule = processes, seed, settings.schedule
        self.trained_on, self.watched = split_photographs(data, seed)
        optimizer = AdamW(restorer.parameters(), lr=settings.rate, weight_decay=0.01)
        self.networks = {RESTORER: OptimizerStep(restorer, optimizer, processes, clip_norm=1.0)}
        self.examples_per_step = settings.batch_size * processes.num_processes

    def learning_rate(self, step: int) -> float:
        return self.schedule.at(step)

    def batches(self, first: int, last: int) -> Iterator[Sequence[Batch]]:
        size = self.settings.batch_size
        for step in range(first, last):
            start = (step * self.processes.num_processes + self.processes.process_index) * size
            yield [self.trained_on.batch(start, size)]

    def fit(self, step: int) -> None:
        fit_linear_maps(self.restorer, self.trained_on)

    def loss(self, step: int, part: Batch, network: str) -> Loss:
        part = Batch(*(tensor.to(self.processes.device) for tensor in part))
        restored = self.networks[network].prepared(part.seen, part.masked, part.task)
        loss = squared_error(restored, part, self.restorer.std).mean()
        return Loss(loss, {"loss": loss.detach()})

    @torch.no_grad()
    def validate(self, step: int) -> Terms:
        """The error of each task on photographs that are not trained on."""
        set_spread(self.restorer, self.watched)
        found: Terms = {}
        for number, task in enumerate(TASKS):
            part = self._watched(number)
            restored = self.restorer(part.seen, part.masked, part.task)
            found[task] = float(squared_error(restored, part, self.restorer.std).mean())
        return found

    def _watched(self, task: int) -> Batch:
        places = self.watched.places
        part = self.watched.data.batch(places, [task] * len(places))
        return Batch(*(tensor.to(self.processes.device) for tensor in part))

    def metadata(self) -> dict[str, Any]:
        run = asdict(self.settings)
        own = {name: run[name] for name in ("body", "field", "rate", "steps", "warmup", "batch_size")}
        return {
            **own,
            **{f"restorer.{name}": value for name, value in asdict(self.restorer.settings).items()},
            "seed": self.seed,
            "processes": self.processes.num_processes,
            "photographs": self.trained_on.data.fingerprint,
        }

    def save_result(self, folder: Path, step: int) -> None:
        set_spread(self.restorer, self.watched)
        data = self.trained_on.data
        self.restorer.save(folder, {"steps": step, "photographs": data.fingerprint, "seed": self.seed})


def squared_error(restored: Tensor, part: Batch, std: Tensor) -> Tensor:
    """The squared error of each predicted cell in units of the features' variance: (cells,)."""
    error = ((restored - part.clean) / std).square().mean(dim=-1)  # (B, h, w)
    return error[part.predicted]


@torch.no_grad()
def fit_linear_maps(restorer: Restorer, batches: RestorationBatches) -> None:
    """Set mean and deviation of the features, and the linear map of each task by ridge regression."""
    data, places = batches.data, batches.places
    clean = data.rows[list(places[: 16 * FIT_BATCH]), 0, ..., :-1].float().flatten(0, 2)
    restorer.mean.copy_(clean.mean(dim=0))
    restorer.std.copy_(clean.std(dim=0).clamp_min(1e-6))
    for number in range(len(TASKS)):
        sums = [field_sums(restorer, data.batch(part, [number] * len(part))) for part in parts_of(places)]
        square, products = (torch.stack(of_parts).sum(dim=0) for of_parts in zip(*sums, strict=True))
        square += RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype)
        restorer.maps[number].copy_(torch.linalg.solve(square, products))


def field_sums(restorer: Restorer, part: Batch) -> tuple[Tensor, Tensor]:
    """XᵀX and XᵀY over the fields with a cell to predict: fields, and their clean features, standardised."""
    device, side = restorer.mean.device, restorer.settings.field
    fields = restorer.fields(part.seen.to(device), part.masked.to(device)).cpu()
    clean = to_fields((part.clean - restorer.mean.cpu()) / restorer.std.cpu(), side)
    needed = to_fields(part.predicted[..., None].float(), side).any(dim=-1)  # (B, rows, columns)
    inputs = torch.cat([fields, fields.new_ones(*fields.shape[:-1], 1)], dim=-1)[needed].double()
    return inputs.T @ inputs, inputs.T @ clean[needed].double()


@torch.no_grad()
def set_spread(restorer: Restorer, batches: RestorationBatches) -> None:
    """Set the ratio of the deviations of clean and of predicted features, for each task."""
    device = restorer.mean.device
    for number in range(len(TASKS)):
        part = batches.data.batch(batches.places, [number] * len(batches.places))
        restored = restorer(part.seen.to(device), part.masked.to(device), part.task.to(device)).cpu()
        clean, found = part.clean[part.predicted], restored[part.predicted]
        restorer.spread[number].copy_(clean.std(dim=0) / found.std(dim=0).clamp_min(1e-6))


def parts_of(places: Sequence[int]) -> Iterator[Sequence[int]]:
    """The places, `FIT_BATCH` at a time."""
    for start in range(0, len(places), FIT_BATCH):
        yield places[start : start + FIT_BATCH]


@dataclass(frozen=True)
class RestorerTraining:
    """One restorer and what it is trained on.

    Attributes:
        pipeline: tokenizer and LLM.
        files: photographs.
        settings: the run.
        seed: of everything that is drawn.
    """

    pipeline: Pipeline
    files: Sequence[ImageFile]
    settings: RestorerRun
    seed: int = 0

    def train(self, on_step: OnStep, progress: Progress = silent) -> int:
        """Train, or go on with a run that was stopped; returns how many steps are done.

        Raises:
            V2LError: no photograph is readable, the run in the folder has other settings, the loss is not
                finite, or the disk is full.
        """
        loop = TrainingLoop(self.recipe(progress), self.settings.loop)
        return loop.train(loop.resume(), on_step)

    def plan(self, progress: Progress = silent) -> Plan:
        """Measure a few steps; nothing is written but the features in the user's cache."""
        return plan_run(self.recipe(progress), self.settings.steps)

    def recipe(self, progress: Progress = silent, processes: Accelerator | None = None) -> RestorerRecipe:
        """Encode the photographs, and build the layers with random weights."""
        data = restoration_features(self.pipeline.grid, self.files, self.seed, progress)
        torch.manual_seed(self.seed)
        restorer = new_restorer(self.pipeline, self.settings.body, self.settings.field)
        world = processes or start_processes(str(self.pipeline.llm.device))
        return RestorerRecipe(restorer, data, self.settings, world, self.seed)


def new_restorer(pipeline: Pipeline, body: str, field: int = 2) -> Restorer:
    """A restorer with random weights, between a tokenizer and an LLM."""
    llm, dim = pipeline.llm, pipeline.grid.config.model.lookup_dim
    vectors = llm.input_embeddings(range(min(1000, llm.vocabulary_size))).float()
    binding = (pipeline.grid.code_fingerprint, llm.name, llm.weights_fingerprint)
    scale = float(vectors.square().mean().sqrt())
    settings = RestorerSettings(body, field, dim, llm.embedding_width, scale, *binding)
    if body == "transformer":
        settings = replace(settings, width=width_of_control(settings), scale=1.0)
    return Restorer(settings).use_llm(llm)
