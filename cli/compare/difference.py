"""v2l difference: a photograph before and after a change ──► the words of what came and of what went."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.compare.options import Count, describe_guided, load_group
from v2l.cli.options import Json, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline

if TYPE_CHECKING:
    from v2l.tasks.comparison.difference import Difference

Before = Annotated[Path, typer.Argument(metavar="BEFORE", help="The photograph before the change.")]
After = Annotated[Path, typer.Argument(metavar="AFTER", help="The photograph after it.")]


def difference(
    ctx: typer.Context,
    before: Before,
    after: After,
    count: Count = 5,
    tokenizer: Tokenizer = None,
    json: Json = False,
) -> None:
    """Find what came and what went between two photographs, in words of the frozen LLM's vocabulary.

    With an adapter for sets (v2l train-sam) the LLM says it in a sentence.
    """
    from v2l.tasks.comparison.difference import find_difference
    from v2l.tasks.comparison.group import OWN_WORDS

    with output(json) as out:
        pipeline = load_pipeline(options(ctx), tokenizer)
        if describe_guided(pipeline, [before, after], "difference", out):
            return
        group = load_group(pipeline, [before, after], 2, OWN_WORDS.count)
        found = find_difference(group, count)
        record = {
            "before": str(before),
            "after": str(after),
            "came": [vars(word) for word in found.came],
            "went": [vars(word) for word in found.went],
            "stayed": [vars(word) for word in found.stayed],
            "notes": list(group.notes),
            "stack": pipeline.describe(),
        }
        out.result(record, page(found))
        for note in group.notes:
            out.note(note)


def page(found: Difference) -> str:
    """For people: one line for each list."""
    lists = {
        "came": [word.word for word in found.came],
        "went": [word.word for word in found.went],
        "stayed": [word.word for word in found.stayed],
    }
    return "\n".join(f"{name + ':':<8}{', '.join(words) or '-'}" for name, words in lists.items())
