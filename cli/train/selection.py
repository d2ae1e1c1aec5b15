"""v2l train-lavit: photographs ──► a selection of patches with words (LaVIT)."""

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
    from v2l.tokenizers.selection.settings import SelectionConfig
    from v2l.training.recipes.selection_run import SelectionRun

Places = Annotated[
    list[str],
    typer.Argument(
        metavar="PLACE...", help="Photographs to train on: folders, image files, lists, tar shards."
    ),
]
Run = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="Folder of the run: states, log, and the checkpoint in model/.", metavar="DIR"
    ),
]
Words = Annotated[
    Path | None,
    typer.Option(
        help="A global codebook of v2l build-codebook; by default the one that ships.", metavar="DIR"
    ),
]
Steps = Annotated[int | None, typer.Option(help="Optimizer steps, instead of the config's.", min=1)]


def train_lavit(
    ctx: typer.Context,
    places: Places,
    run: Run = Path("runs/lavit"),
    words: Words = None,
    steps: Steps = None,
    plan: PlanOnly = False,
    json: Json = False,
) -> None:
    """Train the tokenizer lavit; the same command goes on with a run that was stopped.

    --config names a preset of configs/lavit (small, paper) or a YAML file.
    """
    from v2l.sources import find_images
    from v2l.tokenizers.selection.settings import SelectionConfig
    from v2l.training.recipes.selection_run import SelectionRun, plan_selection

    given = options(ctx)
    config = SelectionConfig.load(given.config or "small")
    if steps is not None:
        config = replace(config, training=replace(config.training, steps=steps))
    settings = SelectionRun(find_images(*places), run, words, given.device, given.seed)
    total = config.training.steps
    with output(json) as out:
        if plan:
            with progress() as report:
                measured = plan_selection(config, settings, report)
            show_plan(measured, len(settings.images), total, out, ", after the images are encoded")
            return
        done = train(config, settings, out)
    if done < total:
        out.note("v2l: stopped; the same command goes on from here")
        raise typer.Exit(STOPPED)


def train(config: SelectionConfig, settings: SelectionRun, out: Output) -> int:
    """Train, and print the result; returns how many steps are done."""
    from v2l.training.recipes.selection_run import train_selection

    total, model = config.training.steps, settings.run / "model"
    with progress() as report:

        def on_step(step: int, terms: dict[str, float]) -> None:
            report("training", step, total, f"cosine {1 - terms['rebuilt']:.3f}, kept {terms['kept']:.0%}")

        done = train_selection(config, settings, on_step, report)
    if is_main_process():
        record = {"output": str(model), "steps": done, "of": total, "images": len(settings.images)}
        out.result(record, f"{done:,} of {total:,} steps done; the checkpoint is {model}")
    return done
