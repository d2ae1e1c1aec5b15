"""v2l codebook merge: several codebooks of one LLM and one encoder ──► one."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.codebook.directory import Target, one_codebook, write_codebook
from v2l.cli.options import Json
from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.codebook.codebook import Codebook

Directories = Annotated[
    list[Path],
    typer.Argument(
        metavar="DIR", help="Two codebooks or more; of entries with the same token ids the first stays."
    ),
]


def codebook_merge(directories: Directories, target: Target, json: Json = False) -> None:
    """Merge codebooks in the given order."""
    if len(directories) < 2:
        raise V2LError(
            f"got {len(directories)} codebook to merge", "two or more", "v2l codebook merge A B -o C"
        )

    def merged() -> Codebook:
        return reduce(lambda one, other: one.merge(other), map(one_codebook, directories))

    write_codebook(merged, target, json)
