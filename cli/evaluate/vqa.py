"""v2l evaluate vqa: photographs of known classes ──► the share of right answers to questions about them."""

from __future__ import annotations

from typing import Annotated

import typer

from v2l.cli.evaluate.options import Places, note_skipped
from v2l.cli.options import Json, Llm, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.progress import progress

Limit = Annotated[
    int | None,
    typer.Option(
        help="Only so many questions about names, and so many yes and no questions of each kind.", min=1
    ),
]
Words = Annotated[int, typer.Option(help="Global words of an image.", min=1)]


def evaluate_vqa(
    ctx: typer.Context,
    places: Places,
    limit: Limit = None,
    words: Words = 5,
    tokenizer: Tokenizer = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Measure answers: what is it, of four? is it an animal, a vehicle, food, an instrument, a building?

    The questions come from the classes of the photographs: the folder, or the WordNet id in the file's name,
    which yes-or-no questions need. The LLM answers from words alone, by log-probabilities. The baselines
    compare vectors and need no LLM.
    """
    from v2l.evaluation.questions import kind_questions, which_questions
    from v2l.evaluation.vqa import WHICH, YES_NO, answer_kinds, answer_which, page, report
    from v2l.images import Skipped
    from v2l.pipeline.image_words import WordSelection, read_readable
    from v2l.sources import find_images

    given = options(ctx)
    with output(json) as out:
        files = find_images(*places)
        which = which_questions(files, given.seed, limit)
        kinds = kind_questions(files, given.seed, limit)
        pipeline = load_pipeline(given, tokenizer, llm)
        skipped = Skipped()
        used = list(dict.fromkeys([*(each.file for each in which), *(each.file for each in kinds)]))
        with progress() as report_progress:
            selection = WordSelection(words, "nearest")
            images = read_readable(pipeline.tokenizer, used, selection, skipped, report_progress)
        parts = {WHICH: answer_which(pipeline, [each for each in which if each.file in images], images)}
        if kinds:
            parts[YES_NO] = answer_kinds(pipeline, [each for each in kinds if each.file in images], images)
        unreadable = [str(file) for file, _ in skipped.files]
        out.result(report(parts, pipeline, given.seed) | {"skipped": unreadable}, page(parts))
        if not kinds:
            out.note("no yes-or-no questions: the files have no WordNet ids of ImageNet")
        note_skipped(out, unreadable)
