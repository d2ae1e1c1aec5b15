"""evaluate commands ──► the options that they share, and the note about files that could not be read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.output import Output
from v2l.errors import V2LError

Places = Annotated[
    list[str], typer.Argument(metavar="PLACE", help="Photographs: folders, image files, lists, tar shards.")
]
Target = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="A page of pictures; the suffix chooses the format.", metavar="FILE"),
]
Log = Annotated[
    Path | None, typer.Option(help="Journal: the same command goes on with it.", metavar="FILE.jsonl")
]
LimitOfTwo = Annotated[
    int | None, typer.Option("--limit", help="Only so many photographs, drawn by --seed; at least 2.", min=2)
]


def note_skipped(out: Output, reasons: Sequence[str]) -> None:
    """Print how many files could not be read, and the reason for each; nothing when all could be."""
    if reasons:
        lines = [f"skipped {len(reasons)} unreadable file(s):", *(f"  {reason}" for reason in reasons)]
        out.note("\n".join(lines))


def numbers(option: str, text: str, least: int) -> tuple[int, ...]:
    """The numbers of a text like 2,5, each once, in their order.

    Raises:
        V2LError: they are no whole numbers from `least`.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) >= least for part in parts):
        raise V2LError(
            f"got {option} {text}",
            f"whole numbers from {least}, with commas between",
            f"{option} {least},{least + 1}",
        )
    return tuple(dict.fromkeys(int(part) for part in parts))
