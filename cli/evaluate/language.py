"""v2l evaluate language: photographs ──► whether the frozen LLM finds any language in their codes."""

from __future__ import annotations

from typing import Annotated

import typer

from v2l.cli.evaluate.options import Places, note_skipped
from v2l.cli.options import Json, Llm, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.progress import progress

Limit = Annotated[
    int | None, typer.Option("--limit", help="Only so many photographs, drawn by --seed; at least 3.", min=3)
]
Masked = Annotated[int, typer.Option("--masked", help="Masked words of each photograph.", min=1)]
Most = Annotated[int, typer.Option("--most", help="Words of a sentence that are read.", min=2)]


def evaluate_language(
    ctx: typer.Context,
    places: Places,
    tokenizer: Tokenizer = None,
    llm: Llm = None,
    limit: Limit = None,
    masked: Masked = 2,
    most: Most = 128,
    json: Json = False,
) -> None:
    """Measure the LLM's perplexity of codes in their order and shuffled, and its completion of masked codes.

    The tokenizer's codes must be words of the LLM: v2l (the grid, row by row), titok.
    """
    from random import Random

    from v2l.evaluation.language import LanguageSettings, page, report, sentences_of
    from v2l.evaluation.language import evaluate_language as measure
    from v2l.images import Skipped
    from v2l.sources import find_images

    given = options(ctx)
    with output(json) as out:
        files = find_images(*places)
        drawn = Random(given.seed).sample(files, min(limit or len(files), len(files)))
        pipeline, skipped = load_pipeline(given, tokenizer, llm), Skipped()
        settings = LanguageSettings(given.seed, masked, most)
        with progress() as report_progress:
            sentences = sentences_of(pipeline.tokenizer, drawn, most, skipped, report_progress)
            result = measure(sentences, pipeline.llm, settings, report_progress)
        found = {**report(result), "seed": given.seed, "stack": pipeline.describe()}
        out.result(found, page(found))
        note_skipped(out, [reason for _, reason in skipped.files])
