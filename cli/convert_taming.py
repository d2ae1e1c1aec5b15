"""v2l convert-taming: a VQGAN checkpoint of taming-transformers ──► a tokenizer directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.options import Json
from v2l.cli.output import output

Checkpoint = Annotated[Path, typer.Argument(metavar="FILE.ckpt", help="The released weights of a VQModel.")]
Target = Annotated[Path, typer.Option("--output", "-o", help="Directory to write.", metavar="DIR")]


def convert_taming(
    checkpoint: Checkpoint, target: Target = Path("checkpoints/vqgan"), json: Json = False
) -> None:
    """Convert a VQGAN of taming-transformers to a directory for --tokenizer of every command."""
    from v2l.official.taming import convert_taming as convert

    with output(json) as out:
        tokenizer = convert(checkpoint, target)
        network, weights = tokenizer.network, sum(weight.numel() for weight in tokenizer.parameters())
        record = {
            "checkpoint": str(checkpoint),
            "output": str(target),
            "codes": network.codes,
            "factor": tokenizer.factor,
            "parameters": weights,
            "fingerprint": tokenizer.fingerprint,
        }
        line = (
            f"{checkpoint}: {network.codes:,} codes of width {network.lookup_dim}, {tokenizer.factor} × "
            f"{tokenizer.factor} pixels a code, {weights / 1e6:.1f} M weights, written to {target}"
        )
        out.result(record, line)
