"""v2l train: photographs + codebooks ──► a tokenizer checkpoint."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.failures import STOPPED
from v2l.cli.options import Json, options
from v2l.cli.output import Output, output
from v2l.cli.progress import progress

if TYPE_CHECKING:
    from v2l.config import Config
    from v2l.training.run import RunSettings

Places = Annotated[
    list[str],
    typer.Argument(
        metavar="PLACE...",
        help="Photographs to learn from: folders, .csv or .txt lists, .tar shards; PLACE@train: a part.",
    ),
]
Run = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="Folder of the run: states, logs, pictures, and the checkpoint in model/.",
        metavar="DIR",
    ),
]
Codebooks = Annotated[
    Path | None,
    typer.Option(
        help="What v2l build-codebook wrote; by default those of --init, or those that ship.", metavar="DIR"
    ),
]
Steps = Annotated[int | None, typer.Option(help="Optimizer steps, instead of the config's.", min=1)]
Init = Annotated[
    Path | None, typer.Option("--init", help="Checkpoint whose weights a new run begins with.", metavar="DIR")
]
PlanOnly = Annotated[
    bool, typer.Option("--plan", help="Measure a few steps, print what the run will take, and write nothing.")
]


def train(
    ctx: typer.Context,
    places: Places,
    run: Run = Path("runs/tokenizer"),
    codebooks: Codebooks = None,
    init: Init = None,
    steps: Steps = None,
    plan: PlanOnly = False,
    json: Json = False,
) -> None:
    """Train a tokenizer; the same command goes on with a run that was stopped."""
    from v2l.config import load_config
    from v2l.sources import find_images
    from v2l.tokenizers.grid.model import SHIPPED
    from v2l.training.run import RunSettings

    given = options(ctx)
    config = load_config(given.config)
    if steps is not None:
        config = replace(config, training=replace(config.training, steps=steps))
    settings = RunSettings(
        find_images(*places), codebooks or init or SHIPPED, run, given.device, given.seed, init
    )
    with output(json) as out:
        if plan:
            tell_plan(config, settings, out)
            return
        done = run_to_the_end(config, settings, out)
    if done < config.training.steps:
        out.note("v2l: stopped; the same command goes on from here")
        raise typer.Exit(STOPPED)


def tell_plan(config: Config, settings: RunSettings, out: Output) -> None:
    """Measure, and print what the run will take."""
    from v2l.training.plan import plan_training

    plan, steps = plan_training(config, settings), config.training.steps
    memory = f"{plan.peak_bytes / 1e9:.1f} GB at most" if plan.peak_bytes else "not told by this system"
    lines = [
        f"{len(settings.images):,} images, {steps:,} steps of {plan.images_per_step}",
        f"speed    {plan.images_per_second:.1f} images a second, {plan.reading_share:.0%} of the time spent reading them",
        f"memory   {memory}",
        f"time     {duration(plan.hours)}, after the images are encoded for their global words",
        *(
            f"         {phase.steps:,} steps of {phase.seconds:.2f} s with {phase.name}"
            for phase in plan.phases
        ),
    ]
    if leads():
        out.result({**plan.to_dict(), "images": len(settings.images), "steps": steps}, "\n".join(lines))


def run_to_the_end(config: Config, settings: RunSettings, out: Output) -> int:
    """Train, and print what came of it; returns how many steps are done."""
    from v2l.tokenizers.grid.model import V2LTokenizer
    from v2l.training.run import train as run_training

    total, skipped = config.training.steps, []
    with progress() as tell:

        def on_step(step: int, terms: dict[str, float]) -> None:
            tell("training", step, total, f"loss {terms['loss']:.4f}")
            if terms["skipped"] and leads():
                skipped.append(step)
                out.note(f"step {step}: a gradient was not finite, the batch was skipped")

        result = run_training(config, settings, on_step, tell)
    if leads():
        model = V2LTokenizer.from_pretrained(settings.run / "model", device="cpu")
        record = {
            "output": str(settings.run / "model"),
            "steps": result.steps,
            "of": total,
            "skipped": [str(path) for path in result.unreadable],
            "enlarged": result.enlarged,
            "skipped_steps": skipped,
            "stack": model.describe(),
        }
        out.result(
            record, f"{result.steps:,} of {total:,} steps done; the checkpoint is {settings.run / 'model'}"
        )
        if result.unreadable:
            out.note(
                "\n".join(
                    [
                        f"skipped {len(result.unreadable)} unreadable file(s):",
                        *(f"  {path}" for path in result.unreadable),
                    ]
                )
            )
        if result.enlarged:
            out.note(
                f"enlarged {result.enlarged} image(s) smaller than the crop of {config.training.crop_size} pixels"
            )
    return result.steps


def duration(hours: float) -> str:
    """For people."""
    return f"{hours:,.1f} hours" if hours >= 1 else f"{60 * hours:.0f} minutes"


def leads() -> bool:
    """Of several processes one speaks."""
    return os.environ.get("RANK", "0") == "0"
