"""v2l train-titok: photographs ──► a latent tokenizer, which writes an image as a sentence (TiTok)."""

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
    from v2l.tokenizers.latents.settings import LatentConfig
    from v2l.training.recipes.latents_run import LatentRun

Places = Annotated[
    list[str],
    typer.Argument(
        metavar="PLACE...", help="Photographs to train on: folders, image files, lists, tar shards."
    ),
]
Run = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="Folder of the run: states, log, pictures, and the checkpoint in model/.",
        metavar="DIR",
    ),
]
Steps = Annotated[int | None, typer.Option(help="Optimizer steps, instead of the config's.", min=1)]


def train_titok(
    ctx: typer.Context,
    places: Places,
    run: Run = Path("runs/titok"),
    steps: Steps = None,
    plan: PlanOnly = False,
    json: Json = False,
) -> None:
    """Train the tokenizer titok; the same command goes on with a run that was stopped.

    --config names a preset of configs/titok (small, l-32, b-64, s-128) or a YAML file.
    """
    from v2l.sources import find_images
    from v2l.tokenizers.latents.settings import LatentConfig
    from v2l.training.recipes.latents_run import LatentRun, plan_latents

    given = options(ctx)
    config = LatentConfig.load(given.config or "small")
    if steps is not None:
        config = replace(config, training=replace(config.training, steps=steps))
    settings = LatentRun(find_images(*places), run, given.device, given.seed)
    total = config.training.steps
    with output(json) as out:
        if plan:
            with progress() as report:
                measured = plan_latents(config, settings, report)
            show_plan(measured, len(settings.images), total, out, ", after the images are encoded")
            return
        done = train(config, settings, out)
    if done < total:
        out.note("v2l: stopped; the same command goes on from here")
        raise typer.Exit(STOPPED)


def train(config: LatentConfig, settings: LatentRun, out: Output) -> int:
    """Train, and print the result; returns how many steps are done."""
    from v2l.training.recipes.latents_run import train_latents

    total, model = config.training.steps, settings.run / "model"
    with progress() as report:

        def on_step(step: int, terms: dict[str, float]) -> None:
            name = "features" if "features" in terms else "l2"
            report("training", step, total, f"{name} {terms[name]:.4f}")

        done = train_latents(config, settings, on_step, report)
    if is_main_process():
        record = {"output": str(model), "steps": done, "of": total, "images": len(settings.images)}
        out.result(record, f"{done:,} of {total:,} steps done; the checkpoint is {model}")
    return done
