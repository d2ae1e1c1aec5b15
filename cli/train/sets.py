"""v2l train-sam: sets of images ──► an adapter whose soft tokens of an image know the others of its set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.failures import STOPPED
from v2l.cli.options import Json, Llm, options
from v2l.cli.output import Output, output
from v2l.cli.progress import progress
from v2l.cli.train.adapter import BatchSize, Codebooks, Rate, Run, SaveEvery, Steps, Tokens, load_models
from v2l.cli.train.plan import PlanOnly, is_main_process, show_plan

if TYPE_CHECKING:
    from v2l.training.recipes.adapter_models import AdapterModels
    from v2l.training.recipes.sets import SetTraining

Sets = Annotated[list[Path], typer.Argument(metavar="SETS...", help="Folders that v2l make-sets wrote.")]
Rounds = Annotated[
    int, typer.Option(help="Rounds of guidance between the images; 0 reads each alone.", min=0)
]
Injection = Annotated[
    str,
    typer.Option(help="Where the guidance enters: append, as further queries; add, added to the queries."),
]
Align = Annotated[
    float,
    typer.Option("--align", help="Weight of the loss that draws soft tokens to the answer; 0 is off.", min=0),
]


def train_sam(
    ctx: typer.Context,
    sets: Sets,
    run: Run = Path("runs/sam"),
    tokens: Tokens = 16,
    rounds: Rounds = 1,
    injection: Injection = "append",
    steps: Steps = 2000,
    batch_size: BatchSize = 8,
    rate: Rate = 1e-3,
    align: Align = 0.0,
    save_every: SaveEvery = 100,
    codebooks: Codebooks = None,
    plan: PlanOnly = False,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Train SAM's adapter: what images of a set share, what came or went, which follows which.

    The same command goes on with a run that was stopped. The weights of the LLM do not change.
    """
    from v2l.image_sets import read_sets
    from v2l.tokenizers.adapters.guidance import Guidance
    from v2l.training.recipes.adapter import AdapterRun
    from v2l.training.recipes.sets import SetTraining

    given = options(ctx)
    with output(json) as out:
        settings = AdapterRun(
            run,
            rate,
            steps,
            batch_size=batch_size,
            align=align,
            save_every=save_every,
            watch_every=save_every,
        )
        found = [one for folder in sets for one in read_sets(folder)]
        training = SetTraining(tokens, found, settings, Guidance(rounds, injection), given.seed)
        models = load_models(given, codebooks, llm)
        if plan:
            with progress() as report:
                measured = training.plan(models, report)
            show_plan(measured, len(found), steps, out)
            return
        done = run_to_the_end(training, models, out)
    if done < steps:
        out.note("v2l: stopped; the same command goes on from here")
        raise typer.Exit(STOPPED)


def run_to_the_end(training: SetTraining, models: AdapterModels, out: Output) -> int:
    """Train, and print the result; returns how many steps are done."""
    total, adapter = training.settings.steps, training.settings.run / "model"
    with progress() as report:

        def on_step(step: int, terms: dict[str, float]) -> None:
            report("training", step, total, f"loss {terms['loss']:.3f}")

        done = training.train(models, on_step, report)
    if is_main_process():
        record = {
            "output": str(adapter),
            "steps": done,
            "of": total,
            "sets": len(training.sets),
            "stack": {**models.llm.describe(), "encoder": models.encoder.name, "adapter": "sam"},
        }
        out.result(record, f"{done:,} of {total:,} steps done; the adapter is {adapter}")
    return done
