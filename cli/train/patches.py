"""what trainers on frozen patch features share: photographs ──► a tokenizer (lavit, setok, groma)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.failures import STOPPED
from v2l.cli.options import options
from v2l.cli.output import Output, output
from v2l.cli.progress import progress
from v2l.cli.train.plan import is_main_process, show_plan

if TYPE_CHECKING:
    from v2l.training.recipe import Terms
    from v2l.training.recipes.patch_run import BuildRecipe, PatchRun

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


def run_of(ctx: typer.Context, places: list[str], run: Path, words: Path | None) -> PatchRun:
    """The options of a command as the settings of a run."""
    from v2l.sources import find_images
    from v2l.training.recipes.patch_run import PatchRun

    given = options(ctx)
    return PatchRun(find_images(*places), run, words, given.device, given.seed)


def train_or_plan(
    build: BuildRecipe,
    config: Any,
    settings: PatchRun,
    plan: bool,
    json: bool,
    figures: Callable[[Terms], str],
) -> None:
    """Train, or measure a few steps, and print the result.

    Args:
        build: gives the recipe.
        config: with a section `training`.
        settings: data and places.
        plan: only measure.
        json: print JSON.
        figures: the terms of a step in a few words.
    """
    from v2l.training.plan import plan_run
    from v2l.training.recipes.patch_run import PatchModels

    total = config.training.steps
    with output(json) as out:
        with progress() as report:
            recipe = build(config, settings, PatchModels.load(settings), report)
            measured = plan_run(recipe, total) if plan else None
        if measured is not None:
            show_plan(measured, len(settings.images), total, out, ", after the images are encoded")
            return
        done = train(recipe, config, settings, out, figures)
    if done < total:
        out.note("v2l: stopped; the same command goes on from here")
        raise typer.Exit(STOPPED)


def train(recipe: Any, config: Any, settings: PatchRun, out: Output, figures: Callable[[Terms], str]) -> int:
    """Train, and print the result; returns how many steps are done."""
    from v2l.training.recipes.patch_run import train_recipe

    total, model = config.training.steps, settings.run / "model"
    with progress() as report:

        def on_step(step: int, terms: Terms) -> None:
            report("training", step, total, figures(terms))

        done = train_recipe(recipe, config.training, settings.run, on_step)
    if is_main_process():
        record = {"output": str(model), "steps": done, "of": total, "images": len(settings.images)}
        out.result(record, f"{done:,} of {total:,} steps done; the checkpoint is {model}")
    return done
