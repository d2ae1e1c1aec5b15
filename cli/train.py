"""v2l train: photographs + codebooks ──► a tokenizer checkpoint."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.failures import STOPPED
from v2l.cli.options import Json, options
from v2l.cli.output import output
from v2l.cli.progress import progress

Images = Annotated[Path, typer.Argument(metavar="FOLDER", help="Photographs to learn from, searched through all its folders.")]
Run = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of the run: states, log.csv, and the checkpoint in model/.", metavar="DIR")
]
Codebooks = Annotated[Path | None, typer.Option(help="What v2l build-codebook wrote; by default the codebooks that ship.", metavar="DIR")]
Steps = Annotated[int | None, typer.Option(help="Optimizer steps, instead of the config's.", min=1)]


def train(
    ctx: typer.Context,
    images: Images,
    run: Run = Path("runs/tokenizer"),
    codebooks: Codebooks = None,
    steps: Steps = None,
    json: Json = False,
) -> None:
    """Train a tokenizer; the same command goes on with a run that was stopped."""
    from v2l.config import load_config
    from v2l.images import find_images
    from v2l.tokenizer.model import SHIPPED, V2LTokenizer
    from v2l.training.run import RunSettings
    from v2l.training.run import train as run_training

    given = options(ctx)
    config = load_config(given.config or "small")
    if steps is not None:
        config = replace(config, training=replace(config.training, steps=steps))
    settings = RunSettings(find_images(images), codebooks or SHIPPED, run, given.device, given.seed)
    total = config.training.steps
    with output(json) as out:
        with progress() as tell:
            result = run_training(config, settings, lambda step, terms: tell("training", step, total, f"loss {terms['loss']:.4f}"), tell)
        done, unreadable = result.steps, [str(path) for path in result.unreadable]
        if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
            model = V2LTokenizer.from_pretrained(run / "model", device="cpu")
            record = {"output": str(run / "model"), "steps": done, "of": total, "skipped": unreadable, "stack": model.describe()}
            out.result(record, f"{done:,} of {total:,} steps done; the checkpoint is {run / 'model'}")
            if unreadable:
                out.note("\n".join([f"skipped {len(unreadable)} unreadable file(s):", *(f"  {path}" for path in unreadable)]))
    if done < total:
        out.note("v2l: stopped; the same command goes on from here")
        raise typer.Exit(STOPPED)
