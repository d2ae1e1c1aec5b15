"""photographs + tokenizer + LLM ──► a LoRA adapter that picks the right token for each masked cell.

Source: V2L Tokenizer, arXiv 2403.07874, section 4.3, masked restoration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch.optim import AdamW

from v2l.errors import V2LError
from v2l.llm.adapters import LoraShape, belongs_to, save_adapter
from v2l.llm.lora import AdapterExample, TrainableAdapter
from v2l.processes import Accelerator, start_processes
from v2l.sources import ImageFile
from v2l.tasks.restoration.token_prior import visual_features
from v2l.training.data import files_fingerprint
from v2l.training.loop import LoopSettings, OnStep, TrainingLoop
from v2l.training.optimizer_step import OptimizerStep
from v2l.training.plan import Plan, plan_run
from v2l.training.recipe import Loss, Objective, Recipe, Terms
from v2l.training.recipes.lora_examples import RestorationExamples
from v2l.training.schedule import WarmupCosine

ADAPTER = "adapter"
OLD_STATE = "state"  # where a run kept its state before it was trained by the common loop


@dataclass(frozen=True)
class LoraSettings:
    """A training run; what its examples are about is for `RestorationExamples` to say.

    Attributes:
        run: its folder: states, log, and the adapter in adapter/.
        rate: the highest learning rate.
        steps: optimizer steps.
        warmup: the first steps, in which the rate rises.
        shape: sizes of the adapter.
        examples_per_step: examples in a step of one process.
        save_every: steps between two saved states.
        log_every: steps between two lines of the log.
    """

    run: Path
    rate: float = 1e-3
    steps: int = 1000
    warmup: int = 20
    shape: LoraShape = field(default_factory=LoraShape)
    examples_per_step: int = 4
    save_every: int = 50
    log_every: int = 10

    def __post_init__(self) -> None:
        if self.rate <= 0 or self.steps < 1 or self.warmup < 0:
            raise V2LError(
                f"got rate {self.rate}, {self.steps} steps, {self.warmup} of them warm-up",
                "a rate above 0, and 1 step and more",
            )
        if min(self.examples_per_step, self.save_every, self.log_every) < 1:
            raise V2LError(
                f"got {self.examples_per_step} examples a step, saved every {self.save_every} steps",
                "1 and more",
            )

    @property
    def schedule(self) -> WarmupCosine:
        """The learning rate by the step."""
        return WarmupCosine(self.rate, self.steps, self.warmup)

    @property
    def loop(self) -> LoopSettings:
        """The settings of the loop."""
        return LoopSettings(self.run, self.steps, self.save_every, log_every=self.log_every)


class LoraObjective(Objective[AdapterExample]):
    """The expected cost of an adapter's answers; each part of a batch is one example.

    Args:
        adapter: the adapter to train.
        schedule: of AdamW's learning rate.
        processes: the processes that train together.
        seed: unused by the losses, which draw nothing at random; part of the metadata.
    """

    def __init__(
        self, adapter: TrainableAdapter, schedule: WarmupCosine, processes: Accelerator, seed: int = 0
    ) -> None:
        self.adapter, self.schedule, self.processes, self.seed = adapter, schedule, processes, seed
        adapter.model.to(processes.device)
        optimizer = AdamW(adapter.weights, lr=schedule.peak, weight_decay=0.0)
        self.networks = {ADAPTER: OptimizerStep(adapter.model, optimizer, processes, trained_only=True)}

    def learning_rate(self, step: int) -> float:
        return self.schedule.at(step)

    def loss(self, step: int, part: AdapterExample, network: str) -> Loss:
        value = self.adapter.loss(part, self.networks[network].prepared)
        return Loss(value, {"loss": value.detach()})


class LoraRecipe(LoraObjective, Recipe[AdapterExample]):
    """A LoRA adapter in training.

    Args:
        examples: makes the examples; its LLM carries the adapter from now on.
        images: photographs, all readable.
        settings: the run.
        processes: the processes that train together.
    """

    name, result = "lora", ADAPTER

    def __init__(
        self,
        examples: RestorationExamples,
        images: Sequence[ImageFile],
        settings: LoraSettings,
        processes: Accelerator,
    ) -> None:
        llm, tokenizer = examples.pipeline.llm, examples.pipeline.grid
        self.binding = belongs_to(llm, examples.pipeline.codebook_fingerprint)
        embedding: Any = llm.model.get_input_embeddings()
        features = visual_features(tokenizer, embedding.num_embeddings)
        adapter = TrainableAdapter(llm, settings.shape, examples.seed, features)
        super().__init__(adapter, settings.schedule, processes, examples.seed)
        self.examples, self.images, self.settings = examples, images, settings
        self.examples_per_step = settings.examples_per_step * processes.num_processes

    def batches(self, first: int, last: int) -> Iterator[Sequence[AdapterExample]]:
        size = self.settings.examples_per_step
        for step in range(first, last):
            start = (step * self.processes.num_processes + self.processes.process_index) * size
            yield [self.examples.example(self.images, start + place) for place in range(size)]

    def metadata(self) -> dict[str, Any]:
        settings = {
            **asdict(self.settings.schedule),
            "targets": list(self.settings.shape.targets),
            "rank": self.settings.shape.rank,
            "alpha": self.settings.shape.alpha,
            "tasks": list(self.examples.tasks),
            "examples_per_step": self.settings.examples_per_step,
            "pairs": self.examples.pairs,
            "seed": self.seed,
            "processes": self.processes.num_processes,
        }
        photographs = f"{len(self.images):,} with fingerprint {files_fingerprint(self.images)}"
        prediction = {f"prediction.{name}": value for name, value in asdict(self.examples.settings).items()}
        return settings | prediction | self.binding | {"photographs": photographs}

    def save_result(self, folder: Path, step: int) -> None:
        settings = self.settings
        schedule = {"rate": settings.rate, "steps": settings.steps, "warmup": settings.warmup}
        # Adapters keep their format: the names kinds and lessons in the manifest are older than the code's.
        trained = {
            "llm": self.adapter.llm.name,
            "steps": step,
            "schedule": schedule,
            "targets": list(settings.shape.targets),
            "rank": settings.shape.rank,
            "alpha": settings.shape.alpha,
            "kinds": list(self.examples.tasks),
            "lessons": settings.examples_per_step,
            "seed": self.seed,
        }
        save_adapter(self.adapter.model, folder, self.adapter.shape, trained | self.binding)


def train_adapter(
    examples: RestorationExamples,
    images: Sequence[ImageFile],
    settings: LoraSettings,
    on_step: OnStep | None = None,
    processes: Accelerator | None = None,
) -> int:
    """Train an adapter, or go on with a run that was stopped; returns how many steps are done.

    Args:
        examples: makes the examples; its LLM's weights are not changed, but it carries the adapter
            afterwards.
        images: photographs, all readable.
        settings: the run.
        on_step: called with the number of steps done and the terms of the last.
        processes: the processes that train together; by default this one alone, on the LLM's device.

    Raises:
        V2LError: the run in the folder has other settings, a photograph cannot be read, an example is longer
            than the LLM's context, or the disk is full.
    """
    old = settings.run / OLD_STATE
    if old.is_dir():
        raise V2LError(
            f"{old} is a state of an older v2l train-lora, which cannot go on",
            "a folder without such a state",
            "-o ANOTHER_FOLDER",
        )
    loop = TrainingLoop(_recipe(examples, images, settings, processes), settings.loop)
    return loop.train(loop.resume(), on_step or _ignore)


def plan_adapter(
    examples: RestorationExamples,
    images: Sequence[ImageFile],
    settings: LoraSettings,
    processes: Accelerator | None = None,
) -> Plan:
    """Measure a few steps of a run with its own photographs; nothing is written.

    Afterwards, the LLM still has the adapter.

    Raises:
        V2LError: as `train_adapter` does.
    """
    return plan_run(_recipe(examples, images, settings, processes), settings.steps)


def _recipe(
    examples: RestorationExamples,
    images: Sequence[ImageFile],
    settings: LoraSettings,
    processes: Accelerator | None,
) -> LoraRecipe:
    world = processes or start_processes(str(examples.pipeline.llm.model.device))
    return LoraRecipe(examples, images, settings, world)


def _ignore(step: int, terms: Terms) -> None:
    """No progress shown."""
