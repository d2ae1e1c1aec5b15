"""v2l deblur: a blurred photograph + pairs of others, sharp and blurred alike ──► the photograph from the frozen LLM's tokens."""

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
    Tiles,
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
Kernel = Annotated[
    int | None,
    typer.Option(
        help="Pixels a side of the blur at the model's size, odd (5, 7, 9, 11); by default told from the photograph."
    ),
]


def deblur(
    ctx: typer.Context,
    image: Photograph,
    kernel: Kernel = None,
    target: Target = Path("deblurred.png"),
    page: Page = None,
    tokens: Tokens = None,
    temperature: Temperature = 0.0,
    prompt: Wording = "tuned",
    levers: Levers = None,
    examples: Examples = None,
    tiles: Tiles = False,
    protocol: Protocol = "blind",
    adapter: Adapter = None,
    checkpoint: Checkpoint = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Sharpen a blurred photograph with tokens that the frozen LLM tells from examples blurred alike."""
    from v2l.corruptions import Blur
    from v2l.images import load_image
    from v2l.tasks.restoration.corruption_estimate import estimate_blur

    given, files = options(ctx), Files(image, target, page, tokens)
    with output(json) as out:
        blind_only(protocol)
        files.check()
        photograph, shown = load_image(image), example_images(examples) or sample_images()
        chosen = {"seed": given.seed, "temperature": temperature, "prompt": prompt}
        chosen |= blind_levers(prompt, adapter)
        asked, told = Asked(asking(chosen, levers), shown, tiles), None if kernel is None else Blur(kernel)
        pipeline = load_pipeline(given, checkpoint, llm, adapter)
        corruption = told or estimate_blur(photograph, shown, pipeline.tokenizer.config.model.image_size)
        with progress() as tell:
            restored = mend(pipeline, photograph, corruption, asked, tell)
        write(out, files, restored, asked.settings, pipeline)
