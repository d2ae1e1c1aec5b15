"""v2l detokenize: shards of tokens ──► images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.options import Json, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.progress import progress

Tokens = Annotated[str, typer.Argument(metavar="DIR", help="What v2l tokenize wrote.")]
Target = Annotated[
    Path, typer.Option("--output", "-o", help="A folder for the pictures, one PNG for each id.")
]


def detokenize(
    ctx: typer.Context, tokens: Tokens, target: Target, tokenizer: Tokenizer = None, json: Json = False
) -> None:
    """Decode the tokens of v2l tokenize to pictures; those that are there already are kept."""
    from v2l.tokenization.detokenize import detokenize as run

    with output(json) as out:
        with progress() as bars:
            painted = run(tokens, target, tokenizer, options(ctx).device, bars)
        out.result(
            {**vars(painted), "output": str(target)},
            f"{painted.images:,} pictures written to {target}, {painted.there:,} were there",
        )
