"""v2l evaluate describe: photographs, questions ──► how well captions fit their images, how often answers are right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.describe.options import (
    MAX_TOKENS,
    Candidates,
    Examples,
    MaxTokens,
    Model,
    Shots,
    Timeout,
    Url,
    Wording,
    Words,
    open_endpoint,
)
from v2l.cli.options import Checkpoint, Json, Llm, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
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
Limit = Annotated[
    int | None, typer.Option(help="Only so many photographs, drawn by --seed; at least 2.", min=2)
]
Log = Annotated[
    Path | None,
    typer.Option(
        help="Journal: the same command goes on with it; with captions and answers both, FILE-answers.jsonl is that of the answers.",
        metavar="FILE.jsonl",
    ),
]


def evaluate_describe(
    ctx: typer.Context,
    places: Places = None,
    questions: Questions = None,
    limit: Limit = None,
    log: Log = None,
    examples: Examples = None,
    shots: Shots = None,
    words: Words = None,
    prompt: Wording = "tuned",
    candidates: Candidates = 1,
    endpoint: Url = None,
    endpoint_model: Model = None,
    endpoint_timeout: Timeout = 60.0,
    endpoint_max_tokens: MaxTokens = MAX_TOKENS,
    checkpoint: Checkpoint = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Measure captions by the joint encoder, beside "a photo of {top word}", and answers by exact match, with 95 % intervals.

    Twenty captions are printed with their words, none of them selected.
    """
    from v2l.evaluation.describe import evaluate_answers, evaluate_captions
    from v2l.evaluation.describe_report import page, report
    from v2l.tasks.description.describe import Describer, DescribeSettings

    given = options(ctx)
    with output(json) as out:
        files, asked = found(places, questions, given.seed, limit)
        if files and asked and examples:
            raise V2LError("got --examples for captions and for answers together", "a run for each")
        server = open_endpoint(endpoint, endpoint_model, endpoint_timeout, endpoint_max_tokens)
        settings = DescribeSettings(prompt, words, shots, examples, candidates, seed=given.seed)
        pipeline = load_pipeline(given, checkpoint, llm)
        captions = answers = None
        with progress() as tell:
            if files:
                task = Describer(pipeline, "caption", settings, server)
                captions = task, evaluate_captions(task, files, log, tell)
            if asked:
                task, beside = (
                    Describer(pipeline, "vqa", settings, server),
                    log and log.with_name(f"{log.stem}-answers{log.suffix}"),
                )
                answers = task, evaluate_answers(task, asked, beside if files else log, tell)
        told = report(captions, answers)
        out.result(told, page(told))
        for task, records in filter(None, (captions, answers)):
            if remark := task.remark():
                out.note(remark)
            left_out = [record["skipped"] for record in records if "skipped" in record]
            if left_out:
                out.note(
                    "\n".join(
                        [
                            f"skipped {len(left_out)} unreadable file(s):",
                            *(f"  {reason}" for reason in left_out),
                        ]
                    )
                )


def found(
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
    return draw(find_images(*places), seed, limit) if places else [], load_questions(
        questions
    ) if questions else []
