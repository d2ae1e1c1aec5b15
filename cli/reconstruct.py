"""v2l reconstruct: a photograph ──► its tokens ──► a photograph again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.options import Checkpoint, Json, Photograph, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline

Target = Annotated[
    Path, typer.Option("--output", "-o", help="Where to write the picture; the suffix chooses the format.")
]


def reconstruct(
    ctx: typer.Context,
    image: Photograph,
    target: Target = Path("reconstructed.png"),
    checkpoint: Checkpoint = None,
    json: Json = False,
) -> None:
    """Turn a photograph into tokens and back, and write what came back."""
    from v2l.images import check_suffix, load_image, save_image
    from v2l.metrics import psnr

    with output(json) as out:
        check_suffix(target)
        original = load_image(image)[None]
        pipeline = load_pipeline(options(ctx), checkpoint)
        tokens = pipeline.tokenizer.encode(original)
        (restored,) = pipeline.tokenizer.decode(tokens)
        save_image(restored, target)
        decibel = psnr(pipeline.tokenizer.square(original).cpu(), restored[None].cpu()).item()
        grid = "x".join(str(side) for side in tokens.local_ids.shape[1:])
        record = {
            "image": str(image),
            "output": str(target),
            "local_tokens": tokens.local_ids[0].numel(),
            "global_tokens": tokens.global_ids[0].numel(),
            "metrics": {"psnr": {"value": decibel, "interval": None}},
            "stack": pipeline.describe(),
        }
        out.result(
            record,
            f"{image}: {grid} local and {len(tokens.words[0])} global words, PSNR {decibel:.2f} dB; written to {target}",
        )
