"""v2l reconstruct: a photograph ──► its tokens ──► a photograph again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.options import Json, Photograph, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline

if TYPE_CHECKING:
    from v2l.pipeline.reconstruction import Reconstructed

Target = Annotated[
    Path, typer.Option("--output", "-o", help="Where to write the picture; the suffix chooses the format.")
]
Square = Annotated[
    bool,
    typer.Option(
        "--square", help="Only the centre square, at the tokenizer's own size (128 pixels for v2l)."
    ),
]


def reconstruct(
    ctx: typer.Context,
    image: Photograph,
    target: Target = Path("reconstructed.png"),
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
        photograph = load_image(image)
        pipeline = load_pipeline(options(ctx), tokenizer)
        result = reconstruct_image(pipeline.tokenizer, photograph, square)
        save_image(result.image, target)
        decibel = psnr(result.original[None], result.image[None]).item()
        record = {
            "image": str(image),
            "output": str(target),
            "size": list(result.image.shape[1:]),
            "decoded_size": list(result.decoded_size),
            "shrunk": result.was_shrunk,
            "local_tokens": len(result.tokens.places()),
            "global_tokens": len(result.tokens.strings()),
            "metrics": {"psnr": {"value": decibel, "interval": None}},
            "stack": pipeline.describe(),
        }
        out.result(
            record,
            f"{image}: {tokens_line(result)}, PSNR {decibel:.2f} dB; {size_line(result, square)} to {target}",
        )


def tokens_line(result: Reconstructed) -> str:
    """How many tokens one image became: "20 × 16 local and 21 global words", or "32 tokens"."""
    from v2l.tokens import CellGrid

    layout, named = result.tokens.layout, len(result.tokens.strings())
    if isinstance(layout, CellGrid):
        cells = f"{layout.columns} × {layout.rows}"
        return f"{cells} local and {named} global words" if named else f"{cells} tokens"
    return f"{len(result.tokens.places())} tokens"


def size_line(result: Reconstructed, square: bool) -> str:
    """What was done to the photograph, and at which size the result is written, width × height."""
    height, width = result.image.shape[1:]
    size, (rows, columns) = f"{width} × {height} pixels", result.decoded_size
    if square:
        return f"its centre square, {size}, written"
    read = (
        f", made smaller for the tokenizer, {columns} × {rows}, and enlarged again"
        if result.was_shrunk
        else ""
    )
    return f"the whole photograph{read}, {size}, written"
