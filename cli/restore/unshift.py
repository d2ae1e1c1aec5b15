"""v2l unshift: a shifted photograph + pairs of others, shifted alike ──► the photograph from the frozen LLM's tokens."""

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
from v2l.errors import V2LError

if TYPE_CHECKING:
    from torch import Tensor

    from v2l.corruptions import Shift


Target = Annotated[
    Path, typer.Option("--output", "-o", help="Where to write the picture; the suffix chooses the format.")
]
By = Annotated[
    str | None,
    typer.Option("--by", help="down,right in pixels; by default told from the seam that a shift leaves."),
]


def unshift(
    ctx: typer.Context,
    image: Photograph,
    by: By = None,
    target: Target = Path("unshifted.png"),
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
    """Put a photograph that was shifted round its edges back, with tokens that the frozen LLM tells from examples shifted alike."""
    from v2l.images import load_image
    from v2l.tasks.restoration.corruption_estimate import estimate_shift

    given, files = options(ctx), Files(image, target, page, tokens)
    with output(json) as out:
        blind_only(protocol)
        files.check()
        photograph, shown = load_image(image), example_images(examples) or sample_images()
        chosen = {"seed": given.seed, "temperature": temperature, "prompt": prompt}
        chosen |= blind_levers(prompt, adapter)
        asked = Asked(asking(chosen, levers), shown)
        pipeline = load_pipeline(given, checkpoint, llm, adapter)
        corruption = given_shift(by, photograph) if by else estimate_shift(photograph)
        with progress() as tell:
            restored = mend(pipeline, photograph, corruption, asked, tell)
        write(out, files, restored, asked.settings, pipeline)


def given_shift(by: str, photograph: Tensor) -> Shift:
    """down,right in pixels as a share of the sides.

    Raises:
        V2LError: they are not two whole numbers, or reach beyond the photograph.
    """
    from v2l.corruptions import Shift

    height, width = photograph.shape[-2:]
    try:
        down, right = (int(pixels) for pixels in by.split(","))
    except ValueError as error:
        raise V2LError(f"got --by {by}", "two whole numbers: down,right", "--by 16,-24") from error
    if abs(down) >= height or abs(right) >= width:
        raise V2LError(
            f"got --by {by}", f"less than the photograph's {height} rows and {width} columns", "--by 16,-24"
        )
    return Shift(down / height, right / width)
