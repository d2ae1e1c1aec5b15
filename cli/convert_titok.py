"""v2l convert-titok: a released TiTok checkpoint ──► a tokenizer directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.options import Json
from v2l.cli.output import output

Checkpoint = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="Released weights of TiTok-L-32, B-64 or S-128: .bin or .safetensors."
    ),
]
Target = Annotated[Path, typer.Option("--output", "-o", help="Directory to write.", metavar="DIR")]


def convert_titok(
    checkpoint: Checkpoint, target: Target = Path("checkpoints/titok"), json: Json = False
) -> None:
    """Convert a released TiTok to a directory for --tokenizer of every command."""
    from v2l.official.titok import convert_titok as convert

    with output(json) as out:
        tokenizer = convert(checkpoint, target)
        sizes, weights = tokenizer.network_settings, sum(weight.numel() for weight in tokenizer.parameters())
        record = {
            "checkpoint": str(checkpoint),
            "output": str(target),
            "codes": sizes.codes,
            "latents": sizes.latents,
            "parameters": weights,
            "fingerprint": tokenizer.fingerprint,
        }
        line = (
            f"{checkpoint}: {sizes.latents} latents of {sizes.codes:,} codes, {sizes.image_size} × "
            f"{sizes.image_size} pixels, {weights / 1e6:.1f} M weights, written to {target}"
        )
        out.result(record, line)
