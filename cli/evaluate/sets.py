"""v2l evaluate sets: sets of images + an adapter for sets ──► the share of sets that it answers right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.evaluate.options import Log
from v2l.cli.options import Json, Llm, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.progress import progress

Sets = Annotated[Path, typer.Argument(metavar="SETS", help="Folder that v2l make-sets wrote.")]
Names = Annotated[int, typer.Option("--names", help="Names to choose from, drawn for each set.", min=2)]


def evaluate_sets(
    ctx: typer.Context,
    sets: Sets,
    names: Names = 20,
    log: Log = None,
    tokenizer: Tokenizer = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Measure an adapter for sets: the shared class, what came or went, which follows which.

    Beside it: the same adapter without guidance between the images, and the nearest names without an LLM.
    """
    from v2l.evaluation.set_answers import AnswerSettings, Methods
    from v2l.evaluation.set_answers import evaluate_sets as run
    from v2l.image_sets import read_sets
    from v2l.pipeline.pipeline import Pipeline

    given = options(ctx)
    with output(json) as out:
        settings, found = AnswerSettings(names, given.seed), read_sets(sets)
        soft = load_pipeline(given, tokenizer, llm)
        words = Pipeline(load_pipeline(given, None).tokenizer, soft.llm)
        with progress() as report:
            results = run(Methods(soft, words), found, settings, log, report)
        record = {
            "tasks": {result.task: result.to_dict() for result in results},
            "sets": len(found),
            "settings": vars(settings),
            "stack": soft.describe(),
        }
        out.result(record, "\n\n".join(result.page() for result in results))
