"""v2l codebook filter: candidates with their counts ──► the codebook of another threshold, nothing encoded anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.codebook.build import Keep
from v2l.cli.codebook.directory import Target, refuse_existing, written
from v2l.cli.options import Json
from v2l.cli.output import output

Candidates = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="The candidates/ of v2l build-codebook --keep-candidates, or any codebook with counts.",
    ),
]
MinCount = Annotated[int, typer.Option(help="Photographs that must have a word among their nearest.", min=0)]


def codebook_filter(
    candidates: Candidates, target: Target, min_count: MinCount = 1, keep: Keep = None, json: Json = False
) -> None:
    """Filter candidates once more, by the counts that they carry."""
    from v2l.codebook.codebook import Codebook
    from v2l.codebook.filtering import Rule, filter_candidates

    rule = Rule(min_count) if keep is None else Rule.parse(min_count, keep)
    with output(json) as out:
        refuse_existing(target)
        codebook = filter_candidates(Codebook.load(candidates), rule)
        codebook.save(target)
        out.result(*written(codebook, target))
