"""v2l train: photographs + codebooks ──► a tokenizer checkpoint."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.failures import STOPPED
from v2l.cli.options import Json, options
from v2l.cli.output import Output, output
from v2l.cli.progress import progress
from v2l.cli.train.plan import PlanOnly, is_main_process, show_plan

if TYPE_CHECKING:
    from v2l.config import Config
    from v2l.training.recipes.grid_run import RunSettings, TrainingResult

Places = Annotated[
    list[str],
    typer.Argument(
        metavar="PLACE...",
        help="Photographs to train on: folders, .csv or .txt lists, .tar shards; PLACE@train: a part.",
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
    Path | None, typer.Option("--init", help="Checkpoint whose weights a new run starts with.", metavar="DIR")
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
    from v2l.training.recipes.grid_run import RunSettings, plan_training

    given = options(ctx)
    config = load_config(given.config)
    if steps is not None:
        config = replace(config, training=replace(config.training, steps=steps))
    settings = RunSettings(
        find_images(*places), codebooks or init or SHIPPED, run, given.device, given.seed, init
    )
    with output(json) as out:
        if plan:
            measured = plan_training(config, settings)
            before = ", after the images are encoded for their global words"
            show_plan(measured, len(settings.images), config.training.steps, out, before)
            return
        done = run_to_the_end(config, settings, out)
    if done < config.training.steps:
        out.note("v2l: stopped; the same command goes on from here")
        raise typer.Exit(STOPPED)


def run_to_the_end(config: Config, settings: RunSettings, out: Output) -> int:
    """Train, and print the result; returns how many steps are done."""
    from v2l.tokenizers.loading import load_tokenizer
    from v2l.training.recipes.grid_run import train as run_training

    total = config.training.steps
    skipped: list[int] = []
    with progress() as report:

        def on_step(step: int, terms: dict[str, float]) -> None:
            report("training", step, total, f"loss {terms['loss']:.4f}")
            if terms["skipped"] and is_main_process():
                skipped.append(step)
                out.note(f"step {step}: a gradient was not finite, the batch was skipped")

        result = run_training(config, settings, on_step, report)
    if is_main_process():
        model = load_tokenizer(settings.run / "model", device="cpu")
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
        note_images(result, config.training.crop_size, out)
    return result.steps


def note_images(result: TrainingResult, crop_size: int, out: Output) -> None:
    """Say which files were not used, and how many images were too small."""
    if result.unreadable:
        files = [f"  {path}" for path in result.unreadable]
        out.note("\n".join([f"skipped {len(files)} unreadable file(s):", *files]))
    if result.enlarged:
        out.note(f"enlarged {result.enlarged} image(s) smaller than the crop of {crop_size} pixels")
