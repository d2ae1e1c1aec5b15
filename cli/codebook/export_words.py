"""v2l codebook export: a codebook ──► a table of its words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.codebook.directory import Directory, one_codebook
from v2l.cli.options import Json
from v2l.cli.output import output

Table = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="Table to write: word, ids, order, count, aliases.", metavar="FILE.csv"
    ),
]


def codebook_export(directory: Directory, target: Table, json: Json = False) -> None:
    """Write a codebook's words as a table; after lines are removed, v2l codebook import reads it back."""
    from v2l.codebook.wordlist import export_csv

    with output(json) as out:
        codebook = one_codebook(directory)
        export_csv(codebook, target)
        out.result(
            {"output": str(target), "words": len(codebook), "stack": vars(codebook.source)},
            f"{target}: {len(codebook):,} words",
        )
