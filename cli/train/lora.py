"""v2l train-lora: photographs ──► a LoRA adapter of the LLM, which tells missing and damaged tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.failures import STOPPED
from v2l.cli.options import Checkpoint, Json, Llm, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.progress import progress

Places = Annotated[
    list[str],
    typer.Argument(
        metavar="PLACE", help="Photographs to learn from: folders, image files, lists, tar shards."
    ),
]
Run = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="Folder of the run: the state, and the adapter in adapter/.", metavar="DIR"
    ),
]
Steps = Annotated[int, typer.Option(help="Optimizer steps.", min=1)]
Lessons = Annotated[int, typer.Option(help="Photographs a step.", min=1)]
Rate = Annotated[float, typer.Option(help="Highest learning rate.")]
Rank = Annotated[int, typer.Option(help="Rank of the adapter; alpha is 8 times as much.", min=1)]
Targets = Annotated[
    str, typer.Option(help="Layers of the LLM that get one, with commas between them.", metavar="NAMES")
]
Kinds = Annotated[
    str, typer.Option(help="What the lessons are about, with commas between them.", metavar="NAMES")
]
SaveEvery = Annotated[int, typer.Option(help="Steps between two saved states.", min=1)]


def train_lora(
    ctx: typer.Context,
    places: Places,
    run: Run = Path("runs/adapter"),
    steps: Steps = 1000,
    lessons: Lessons = 4,
    rate: Rate = 1e-3,
    rank: Rank = 8,
    targets: Targets = "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj",
    kinds: Kinds = "mask,deblur,unshift,unrotate",
    save_every: SaveEvery = 50,
    checkpoint: Checkpoint = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Tune the LLM to restore token maps; the same command goes on with a run that was stopped. The LLM itself stays as it is."""
    from v2l.llm.adapters import LoraShape
    from v2l.llm.lora import Schedule
    from v2l.sources import find_images
    from v2l.training.adapter import LoraSettings, Teacher, train_adapter

    given = options(ctx)
    with output(json) as out:
        schedule = Schedule(rate, steps, min(20, steps))
        shape = LoraShape(rank, 8 * rank, tuple(filter(None, targets.split(","))))
        settings = LoraSettings(
            run, schedule, shape, tuple(filter(None, kinds.split(","))), lessons, save_every, given.seed
        )
        images = find_images(*places)
        pipeline = load_pipeline(given, checkpoint, llm)
        record = {
            "output": str(run / "adapter"),
            "of": steps,
            "photographs": len(images),
            "stack": pipeline.describe(),
        }
        teacher = Teacher(pipeline, settings.kinds, seed=given.seed)
        with progress() as tell:
            done = train_adapter(
                teacher,
                images,
                settings,
                lambda step, loss: tell("training", step, steps, f"loss {loss:.3f}"),
            )
        out.result(
            record | {"steps": done}, f"{done:,} of {steps:,} steps done; the adapter is {run / 'adapter'}"
        )
    if done < steps:
        out.note("v2l: stopped; the same command goes on from here")
        raise typer.Exit(STOPPED)
