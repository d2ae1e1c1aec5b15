"""v2l evaluate describe: photographs, questions ──► scores of captions, and the share of right answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.describe.options import DescribeOptions
from v2l.cli.evaluate.options import LimitOfTwo, note_skipped
from v2l.cli.option_groups import expand_options
from v2l.cli.options import options
from v2l.cli.output import output
from v2l.cli.progress import progress
from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.evaluation.describe import Question
    from v2l.sources import ImageFile

Places = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[PLACE]...", help="Photographs to caption: folders, image files, lists, tar shards."
    ),
]
Questions = Annotated[
    Path | None,
    typer.Option(
        help="Questions to answer, JSON: a list of image, question and answer; images relative to the file.",
        metavar="FILE.json",
    ),
]
Log = Annotated[
    Path | None,
    typer.Option(
        help="Journal: the same command goes on with it; with captions and answers both, FILE-answers.jsonl "
        "is that of the answers.",
        metavar="FILE.jsonl",
    ),
]


@expand_options
def evaluate_describe(
    ctx: typer.Context,
    places: Places = None,
    questions: Questions = None,
    limit: LimitOfTwo = None,
    log: Log = None,
    *,
    chosen: DescribeOptions,
) -> None:
    """Measure captions by the joint encoder, and answers by exact match, with 95 % intervals.

    The baseline of captions is "a photo of {top word}". Twenty captions are printed with their words, none
    of them selected.
    """
    from v2l.evaluation.describe import evaluate_answers, evaluate_captions
    from v2l.evaluation.describe_report import page, report

    given = options(ctx)
    with output(chosen.json) as out:
        files, items = find_items(places, questions, given.seed, limit)
        if files and items and chosen.examples:
            raise V2LError("got --examples for captions and for answers together", "a run for each")
        describer = chosen.load(given)
        captions = answers = None
        with progress() as report_progress:
            if files:
                task = describer("caption")
                captions = task, evaluate_captions(task, files, log, report_progress)
            if items:
                task = describer("vqa")
                beside = log and log.with_name(f"{log.stem}-answers{log.suffix}")
                answers_log = beside if files else log
                answers = task, evaluate_answers(task, items, answers_log, report_progress)
        result = report(captions, answers)
        out.result(result, page(result))
        for task, records in filter(None, (captions, answers)):
            if remark := task.remark():
                out.note(remark)
            note_skipped(out, [record["skipped"] for record in records if "skipped" in record])


def find_items(
    places: list[str] | None, questions: Path | None, seed: int, limit: int | None
) -> tuple[list[ImageFile], list[Question]]:
    """The photographs in the order that the seed draws, and the questions.

    Raises:
        V2LError: neither was given, or a place or the file is not as it should be.
    """
    from v2l.evaluation.describe import draw, load_questions
    from v2l.sources import find_images

    if not places and questions is None:
        raise V2LError(
            "got nothing to describe", "photographs, or --questions FILE.json", "v2l evaluate describe FOLDER"
        )
    files = draw(find_images(*places), seed, limit) if places else []
    return files, load_questions(questions) if questions else []
