"""v2l codebook merge: several codebooks of one LLM and one encoder ──► one."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.codebook.directory import Target, one_codebook, refuse_existing, written
from v2l.cli.options import Json
from v2l.cli.output import output
from v2l.errors import V2LError

Directories = Annotated[
    list[Path],
    typer.Argument(
        metavar="DIR", help="Two codebooks or more; of entries with the same token ids the first stays."
    ),
]


def codebook_merge(directories: Directories, target: Target, json: Json = False) -> None:
    """Put codebooks together, in the order given."""
    if len(directories) < 2:
        raise V2LError(
            f"got {len(directories)} codebook to merge", "two or more", "v2l codebook merge A B -o C"
        )
    with output(json) as out:
        refuse_existing(target)
        codebook = reduce(lambda one, other: one.merge(other), map(one_codebook, directories))
        codebook.save(target)
        out.result(*written(codebook, target))
