"""v2l codebook filter: candidates with their counts ──► the codebook of another threshold.

Nothing is encoded again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.codebook.build import Keep
from v2l.cli.codebook.directory import Target, write_codebook
from v2l.cli.options import Json

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
    """Filter candidates again by the counts that are stored with them."""
    from v2l.codebook.codebook import Codebook
    from v2l.codebook.filtering import Rule, filter_candidates

    rule = Rule(min_count) if keep is None else Rule.parse(min_count, keep)
    write_codebook(lambda: filter_candidates(Codebook.load(candidates), rule), target, json)
