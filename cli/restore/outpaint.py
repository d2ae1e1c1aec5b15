"""v2l outpaint: a photograph + how far to each side ──► a larger one, the frozen LLM's tokens around it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.options import Checkpoint, Json, Llm, Photograph, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.progress import progress
from v2l.cli.restore.options import (
    Adapter,
    Candidates,
    Examples,
    Levers,
    Order,
    Page,
    Protocol,
    Temperature,
    Tiles,
    Tokens,
    Wording,
    asking,
    blind_levers,
    blind_only,
    example_images,
)
from v2l.cli.restore.restoration_output import Asked, Files, paint, write

Target = Annotated[
    Path, typer.Option("--output", "-o", help="Where to write the picture; the suffix chooses the format.")
]
Side = Annotated[int, typer.Option(help="Pixels to add at this side.")]


def outpaint(
    ctx: typer.Context,
    image: Photograph,
    left: Side = 0,
    top: Side = 0,
    right: Side = 0,
    bottom: Side = 0,
    target: Target = Path("outpainted.png"),
    page: Page = None,
    tokens: Tokens = None,
    candidates: Candidates = 1,
    temperature: Temperature = 0.0,
    prompt: Wording = "tuned",
    order: Order = "raster",
    levers: Levers = None,
    examples: Examples = None,
    tiles: Tiles = False,
    protocol: Protocol = "blind",
    adapter: Adapter = None,
    checkpoint: Checkpoint = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Paint beyond the edges of a photograph; its own pixels stay as they are."""
    from v2l.images import load_image
    from v2l.tasks.restoration.outpaint import Border, on_canvas

    given, files = options(ctx), Files(image, target, page, tokens)
    with output(json) as out:
        blind_only(protocol)
        files.check()
        canvas, mask = on_canvas(load_image(image), Border(left, top, right, bottom))
        chosen = {
            "seed": given.seed,
            "temperature": temperature,
            "prompt": prompt,
            "candidates": candidates,
            "order": order,
        }
        chosen |= blind_levers(prompt, adapter)
        asked = Asked(asking(chosen, levers), example_images(examples), tiles)
        pipeline = load_pipeline(given, checkpoint, llm, adapter)
        with progress() as tell:
            restored = paint(pipeline, canvas, mask, asked, tell)
        write(out, files, restored, asked.settings, pipeline)
