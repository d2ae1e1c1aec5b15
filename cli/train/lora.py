"""v2l train-lora: photographs ──► a LoRA adapter of the LLM, which predicts masked and corrupted tokens."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.failures import STOPPED
from v2l.cli.options import Json, Llm, Options, Tokenizer, options
from v2l.cli.output import Output, output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.progress import progress
from v2l.cli.train.plan import PlanOnly, is_main_process, show_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from v2l.sources import ImageFile
    from v2l.training.recipes.lora import LoraSettings
    from v2l.training.recipes.lora_examples import RestorationExamples

ALL_TASKS = "mask,deblur,unshift,unrotate"
ALL_TARGETS = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"
WARMUP_STEPS = 20

Places = Annotated[
    list[str],
    typer.Argument(metavar="PLACE", help="Photographs to train on: folders, image files, lists, tar shards."),
]
Run = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="Folder of the run: states, log, and the adapter in adapter/.", metavar="DIR"
    ),
]
Steps = Annotated[int, typer.Option(help="Optimizer steps.", min=1)]
ExamplesPerStep = Annotated[int, typer.Option(help="Photographs a step.", min=1)]
Lessons = Annotated[int | None, typer.Option(help="Old spelling of --examples-per-step.", min=1, hidden=True)]
Rate = Annotated[float, typer.Option(help="Highest learning rate.")]
Rank = Annotated[int, typer.Option(help="Rank of the adapter; alpha is 8 times as much.", min=1)]
Targets = Annotated[
    str, typer.Option(help="Layers of the LLM that get one, with commas between them.", metavar="NAMES")
]
Tasks = Annotated[
    str, typer.Option(help="What the examples are about, with commas between them.", metavar="NAMES")
]
Kinds = Annotated[str | None, typer.Option(help="Old spelling of --tasks.", metavar="NAMES", hidden=True)]
SaveEvery = Annotated[int, typer.Option(help="Steps between two saved states.", min=1)]


def train_lora(
    ctx: typer.Context,
    places: Places,
    run: Run = Path("runs/adapter"),
    steps: Steps = 1000,
    examples_per_step: ExamplesPerStep = 4,
    lessons: Lessons = None,
    rate: Rate = 1e-3,
    rank: Rank = 8,
    targets: Targets = ALL_TARGETS,
    tasks: Tasks = ALL_TASKS,
    kinds: Kinds = None,
    save_every: SaveEvery = 50,
    plan: PlanOnly = False,
    tokenizer: Tokenizer = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Train the LLM's adapter to restore token maps; the same command goes on with a run that was stopped.

    The weights of the LLM itself do not change.
    """
    from v2l.llm.adapters import LoraShape
    from v2l.sources import find_images
    from v2l.training.recipes.lora import LoraSettings

    with output(json) as out:
        settings = LoraSettings(
            run,
            rate,
            steps,
            min(WARMUP_STEPS, steps),
            LoraShape(rank, 8 * rank, names(targets)),
            lessons or examples_per_step,
            save_every,
        )
        trainer = LoraCommand(settings, names(kinds or tasks), find_images(*places), out)
        done = trainer(options(ctx), tokenizer, llm, plan)
    if done < steps:
        out.note("v2l: stopped; the same command goes on from here")
        raise typer.Exit(STOPPED)


class LoraCommand:
    """One call of the command.

    Args:
        settings: the run.
        tasks: what the examples are about.
        images: photographs.
        out: where the command prints.
    """

    def __init__(
        self, settings: LoraSettings, tasks: tuple[str, ...], images: Sequence[ImageFile], out: Output
    ) -> None:
        self.settings, self.tasks, self.images, self.out = settings, tasks, images, out

    def __call__(self, given: Options, tokenizer: str | None, llm: str | None, plan: bool) -> int:
        """Plan or train; returns how many steps are done, all of them for a plan."""
        from v2l.processes import start_processes
        from v2l.training.recipes.lora import plan_adapter
        from v2l.training.recipes.lora_examples import RestorationExamples

        processes = start_processes(given.device)
        if processes.num_processes > 1:  # each loads the models to its own device
            given = replace(given, device=str(processes.device))
        examples = RestorationExamples(load_pipeline(given, tokenizer, llm), self.tasks, seed=given.seed)
        if plan:
            measured = plan_adapter(examples, self.images, self.settings, processes)
            show_plan(measured, len(self.images), self.settings.steps, self.out)
            return self.settings.steps
        return self.train(examples, processes)

    def train(self, examples: RestorationExamples, processes: Any) -> int:
        """Train, and print the result; returns how many steps are done."""
        from v2l.training.recipes.lora import train_adapter

        total, adapter = self.settings.steps, self.settings.run / "adapter"
        record = {
            "output": str(adapter),
            "of": total,
            "photographs": len(self.images),
            "stack": examples.pipeline.describe(),
        }
        skipped: list[int] = []
        with progress() as report:

            def on_step(step: int, terms: dict[str, float]) -> None:
                report("training", step, total, f"loss {terms['loss']:.3f}")
                if terms["skipped"]:
                    skipped.append(step)

            done = train_adapter(examples, self.images, self.settings, on_step, processes)
        if is_main_process():
            self.out.result(
                record | {"steps": done, "skipped_steps": skipped},
                f"{done:,} of {total:,} steps done; the adapter is {adapter}",
            )
            for step in skipped:
                self.out.note(f"step {step}: a gradient was not finite, the batch was skipped")
        return done


def names(text: str) -> tuple[str, ...]:
    """`a,b` ──► ("a", "b")."""
    return tuple(name for name in text.split(",") if name)
