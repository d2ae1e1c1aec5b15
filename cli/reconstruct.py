"""v2l reconstruct: a photograph ──► its tokens ──► a photograph again."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.options import Json, Photograph, Scale, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.pipeline.reconstruction import Reconstructed

Target = Annotated[
    Path, typer.Option("--output", "-o", help="Where to write the picture; the suffix chooses the format.")
]
Square = Annotated[
    bool,
    typer.Option(
        "--square",
        help="The square that the tokenizer sees, at its own size: of v2l the centre, 128 pixels; of titok "
        "and setok the whole photograph, squashed.",
    ),
]


def reconstruct(
    ctx: typer.Context,
    image: Photograph,
    target: Target = Path("reconstructed.png"),
    scale: Scale = None,
    square: Square = False,
    tokenizer: Tokenizer = None,
    json: Json = False,
) -> None:
    """Turn a whole photograph into tokens and back, and write the result at the photograph's size."""
    from v2l.images import check_suffix, load_image, save_image
    from v2l.metrics import psnr
    from v2l.pipeline.reconstruction import reconstruct_image

    with output(json) as out:
        check_suffix(target)
        if square and scale is not None:
            raise V2LError("got --square and --scale together", "one of them")
        photograph = load_image(image)
        pipeline = load_pipeline(options(ctx), tokenizer)
        result = reconstruct_image(pipeline.tokenizer, photograph, scale, square)
        save_image(result.image, target)
        decibel = psnr(result.original[None], load_image(target)[None]).item()
        record = {
            "image": str(image),
            "output": str(target),
            "size": list(result.image.shape[1:]),
            "scale": result.scale,
            "local_tokens": len(result.tokens.places()),
            "global_tokens": len(result.tokens.strings()),
            "bytes": None if result.bits is None else math.ceil(result.bits / 8),
            "metrics": {"psnr": {"value": decibel, "interval": None}},
            "stack": pipeline.describe(),
        }
        out.result(
            record,
            f"{image}: {tokens_line(result)}, PSNR {decibel:.2f} dB; {size_line(result)} to {target}",
        )


def tokens_line(result: Reconstructed) -> str:
    """What one image became: "20 × 16 local and 21 global words, 639 bytes", or "32 tokens"."""
    from v2l.tokens import CellGrid

    layout, named = result.tokens.layout, len(result.tokens.strings())
    line = f"{len(result.tokens.places())} tokens"
    if isinstance(layout, CellGrid):
        cells = f"{layout.columns} × {layout.rows}"
        line = f"{cells} local and {named} global words" if named else f"{cells} tokens"
    return line if result.bits is None else f"{line}, {math.ceil(result.bits / 8):,} bytes"


def size_line(result: Reconstructed) -> str:
    """What was done to the photograph, and at which size the result is written, width × height."""
    height, width = result.image.shape[1:]
    read = {
        "own": "the whole photograph",
        "model": "the whole photograph, made smaller for the tokenizer and enlarged again",
        "square": "the square that the tokenizer sees",
    }
    return f"{read[result.scale]}, {width} × {height} pixels, written"
