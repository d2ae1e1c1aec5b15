"""v2l evaluate fewshot: class folders ──► the paper's table 1, each cell beside baselines without an LLM."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.classify.options import MethodOptions
from v2l.cli.evaluate.options import Log, numbers
from v2l.cli.option_groups import expand_options
from v2l.cli.options import Json, Llm, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.progress import progress
from v2l.errors import V2LError

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="One folder of photographs a class.")]
Ways = Annotated[str, typer.Option(help="Classes of an episode, with commas between.")]
Shots = Annotated[str, typer.Option(help="Labelled images of a class.")]
Repeats = Annotated[str, typer.Option(help="How often the support is repeated.")]
Description = Annotated[
    str, typer.Option(help="Whether a first line describes the task: no, yes, or no,yes for both.")
]
Words = Annotated[str, typer.Option(help="Global words of an image.")]
Every = Annotated[
    bool, typer.Option("--every", help="Every combination, not only the columns of the paper's table.")
]
Episodes = Annotated[int, typer.Option(help="Episodes a cell.", min=1)]
Part = Annotated[str, typer.Option(help="Images to draw from: all; train or eval (80/20 by file name).")]
Control = Annotated[
    bool, typer.Option("--control", help="Measure the LLM with shuffled weights too: it must fall to chance.")
]
ANSWERS = {"no": False, "yes": True}


@expand_options
def evaluate_fewshot(
    ctx: typer.Context,
    folder: Folder,
    ways: Ways = "2,5",
    shots: Shots = "1,3,5",
    repeats: Repeats = "0,1,3,5",
    description: Description = "no,yes",
    words: Words = "5,21",
    every: Every = False,
    episodes: Episodes = 50,
    part: Part = "all",
    control: Control = False,
    log: Log = None,
    tokenizer: Tokenizer = None,
    llm: Llm = None,
    json: Json = False,
    *,
    chosen: MethodOptions,
) -> None:
    """Measure few-shot accuracy over the paper's table 1, with 95 % intervals, beside simple baselines."""
    from v2l.datasets import ClassFolder
    from v2l.evaluation.fewshot import FewShotEvaluation, Grid, page
    from v2l.tasks.classification.fewshot import FewShotSettings, find_part

    given = options(ctx)
    with output(json) as out:
        grid = Grid(
            numbers("--ways", ways, 2),
            numbers("--shots", shots, 1),
            numbers("--repeats", repeats, 0),
            answers(description),
            numbers("--words", words, 1),
            every,
        )
        settings = FewShotSettings(
            episodes=episodes, seed=given.seed, part=find_part(part), method=chosen.method()
        )
        classes = ClassFolder.load(folder, settings.part)
        evaluation = FewShotEvaluation(load_pipeline(given, tokenizer, llm), classes, settings, grid, control)
        with progress() as report_progress:
            table = evaluation.run(log, report_progress)
        out.result(table.to_dict(), page(table))
        if table.skipped:
            out.note(table.skipped.report())


def answers(text: str) -> tuple[bool, ...]:
    """What `no`, `yes` and `no,yes` say.

    Raises:
        V2LError: the text is none of these.
    """
    parts = [part.strip() for part in text.split(",")]
    if not set(parts) <= ANSWERS.keys():
        raise V2LError(f"got --description {text}", "no, yes or no,yes", "--description no,yes")
    return tuple(dict.fromkeys(ANSWERS[part] for part in parts))
