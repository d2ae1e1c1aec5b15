"""v2l train-restorer: photographs ──► linear layers around the frozen LLM that restore token grids."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.failures import STOPPED
from v2l.cli.options import Json, Llm, Tokenizer, options
from v2l.cli.output import Output, output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.progress import progress
from v2l.cli.train.plan import PlanOnly, is_main_process, show_plan

if TYPE_CHECKING:
    from v2l.training.recipes.restorer import RestorerTraining

Places = Annotated[
    list[str],
    typer.Argument(metavar="PLACE", help="Photographs to train on: folders, image files, lists, tar shards."),
]
Run = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="Folder of the run: states, log, and the layers in restorer/.", metavar="DIR"
    ),
]
Body = Annotated[
    str,
    typer.Option(
        help="What stands between the layers: llm; or a control: shuffled (the LLM with shuffled weights), "
        "transformer (a small one, trained), linear (nothing)."
    ),
]
Field = Annotated[
    int, typer.Option("--field", help="Cells a side that are one vector of the LLM; 4 is faster.", min=1)
]
Steps = Annotated[int, typer.Option(help="Optimizer steps.", min=1)]
BatchSize = Annotated[int, typer.Option("--batch-size", help="Photographs a step.", min=1)]
Rate = Annotated[float, typer.Option(help="Highest learning rate.")]
SaveEvery = Annotated[int, typer.Option(help="Steps between two saved states.", min=1)]
Limit = Annotated[int | None, typer.Option(help="Only so many photographs, drawn by --seed.", min=1)]


def train_restorer(
    ctx: typer.Context,
    places: Places,
    run: Run = Path("runs/restorer"),
    body: Body = "llm",
    field: Field = 2,
    steps: Steps = 500,
    batch_size: BatchSize = 8,
    rate: Rate = 2e-3,
    save_every: SaveEvery = 50,
    limit: Limit = None,
    plan: PlanOnly = False,
    tokenizer: Tokenizer = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Train linear layers around the frozen LLM that restore masked and corrupted token grids.

    The same command goes on with a run that was stopped. The weights of the LLM do not change.
    """
    from random import Random

    from v2l.sources import find_images
    from v2l.training.recipes.restorer import RestorerRun, RestorerTraining

    given = options(ctx)
    with output(json) as out:
        settings = RestorerRun(run, body, field, rate, steps, batch_size=batch_size, save_every=save_every)
        files = find_images(*places)
        chosen = files if limit is None else Random(given.seed).sample(files, min(limit, len(files)))
        training = RestorerTraining(load_pipeline(given, tokenizer, llm), chosen, settings, given.seed)
        if plan:
            with progress() as report:
                measured = training.plan(report)
            show_plan(measured, len(chosen), steps, out)
            return
        done = run_to_the_end(training, out)
    if done < steps:
        out.note("v2l: stopped; the same command goes on from here")
        raise typer.Exit(STOPPED)


def run_to_the_end(training: RestorerTraining, out: Output) -> int:
    """Train, and print the result; returns how many steps are done."""
    total, folder = training.settings.steps, training.settings.run / "restorer"
    skipped: list[int] = []
    with progress() as report:

        def on_step(step: int, terms: dict[str, float]) -> None:
            report("training", step, total, f"loss {terms['loss']:.3f}")
            if terms["skipped"]:
                skipped.append(step)

        done = training.train(on_step, report)
    if is_main_process():
        record = {
            "output": str(folder),
            "steps": done,
            "of": total,
            "photographs": len(training.files),
            "skipped_steps": skipped,
            "stack": {**training.pipeline.describe(), "body": training.settings.body},
        }
        out.result(record, f"{done:,} of {total:,} steps done; the restorer is {folder}")
        for step in skipped:
            out.note(f"step {step}: a gradient was not finite, the batch was skipped")
    return done
