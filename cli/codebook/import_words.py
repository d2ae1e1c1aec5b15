"""v2l codebook import: a table of words + the codebook that they come from ──► a codebook of these words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.codebook.directory import Target, one_codebook, write_codebook
from v2l.cli.options import Json

Table = Annotated[
    Path,
    typer.Argument(metavar="FILE.csv", help="What v2l codebook export wrote, with lines taken out or moved."),
]
Origin = Annotated[
    Path,
    typer.Option("--origin", help="The codebook that was exported: it has the embeddings.", metavar="DIR"),
]


def codebook_import(table: Table, origin: Origin, target: Target, json: Json = False) -> None:
    """Make a codebook of the words that are left in a table."""
    from v2l.codebook.wordlist import import_csv

    write_codebook(lambda: import_csv(table, one_codebook(origin)), target, json)
