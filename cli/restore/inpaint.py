"""v2l inpaint: a photograph + a mask ──► the photograph with the frozen LLM's tokens under the mask."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from v2l.errors import V2LError

if TYPE_CHECKING:
    from torch import Tensor

Target = Annotated[
    Path, typer.Option("--output", "-o", help="Where to write the picture; the suffix chooses the format.")
]
MaskFile = Annotated[
    Path | None, typer.Option("--mask", help="Picture of the same size, white where to paint.")
]
Box = Annotated[str | None, typer.Option("--box", help="left,top,right,bottom in pixels.")]
Centre = Annotated[
    bool, typer.Option("--centre", help="The centre, half as high and half as wide; the default.")
]


def inpaint(
    ctx: typer.Context,
    image: Photograph,
    mask: MaskFile = None,
    box: Box = None,
    centre: Centre = False,
    target: Target = Path("inpainted.png"),
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
    """Paint a hole in a photograph with tokens that the frozen LLM tells from the visible part."""
    from v2l.images import load_image

    given, files = options(ctx), Files(image, target, page, tokens)
    with output(json) as out:
        blind_only(protocol)
        files.check()
        photograph = load_image(image)
        where = chosen_mask((photograph.shape[-2], photograph.shape[-1]), mask, box, centre)
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
            restored = paint(pipeline, photograph, where, asked, tell)
        write(out, files, restored, asked.settings, pipeline)


def chosen_mask(size: tuple[int, int], file: Path | None, box: str | None, centre: bool) -> Tensor:
    """The one mask that was asked for, (H, W) bool.

    Raises:
        V2LError: several were, or it does not fit.
    """
    from v2l.images import box_mask, centre_mask, load_mask

    if sum((file is not None, box is not None, centre)) > 1:
        raise V2LError(
            "got more than one of --mask, --box and --centre", "one of them", "v2l inpaint IMAGE --centre"
        )
    if file is not None:
        return load_mask(file, size)
    return centre_mask(size) if box is None else box_mask(corners(box), size)


def corners(box: str) -> tuple[int, ...]:
    """left,top,right,bottom as numbers.

    Raises:
        V2LError: they are not four whole numbers.
    """
    try:
        left, top, right, bottom = (int(side) for side in box.split(","))
    except ValueError as error:
        raise V2LError(
            f"got --box {box}", "four whole numbers: left,top,right,bottom", "--box 60,60,120,140"
        ) from error
    return left, top, right, bottom
