"""v2l unrotate: a turned photograph + pairs of others, turned alike ──► the photograph from the frozen LLM's tokens."""

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
    Examples,
    Levers,
    Page,
    Protocol,
    Temperature,
    Tokens,
    Wording,
    asking,
    blind_levers,
    blind_only,
    example_images,
    sample_images,
)
from v2l.cli.restore.restoration_output import Asked, Files, mend, write

Target = Annotated[
    Path, typer.Option("--output", "-o", help="Where to write the picture; the suffix chooses the format.")
]
Quarters = Annotated[
    int,
    typer.Option(help="Quarter turns that the photograph has gone through, counter-clockwise.", min=1, max=3),
]


def unrotate(
    ctx: typer.Context,
    image: Photograph,
    quarters: Quarters = 1,
    target: Target = Path("unrotated.png"),
    page: Page = None,
    tokens: Tokens = None,
    temperature: Temperature = 0.0,
    prompt: Wording = "tuned",
    levers: Levers = None,
    examples: Examples = None,
    protocol: Protocol = "blind",
    adapter: Adapter = None,
    checkpoint: Checkpoint = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Turn a photograph back, with tokens that the frozen LLM tells from examples turned alike."""
    from v2l.corruptions import Rotation
    from v2l.images import load_image

    given, files = options(ctx), Files(image, target, page, tokens)
    with output(json) as out:
        blind_only(protocol)
        files.check()
        photograph, shown = load_image(image), example_images(examples) or sample_images()
        chosen = {"seed": given.seed, "temperature": temperature, "prompt": prompt}
        chosen |= blind_levers(prompt, adapter)
        asked = Asked(asking(chosen, levers), shown)
        pipeline = load_pipeline(given, checkpoint, llm, adapter)
        corruption = Rotation(quarters)
        with progress() as tell:
            restored = mend(pipeline, photograph, corruption, asked, tell)
        write(out, files, restored, asked.settings, pipeline)
