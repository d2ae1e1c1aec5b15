"""v2l fewshot-classify: folders of photographs ──► the class of each query, predicted by the frozen LLM."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.classify.options import Induction, MethodOptions, Repeats, Words
from v2l.cli.option_groups import expand_options
from v2l.cli.options import Json, Llm, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.progress import progress

if TYPE_CHECKING:
    from v2l.tasks.classification.fewshot import FewShotResult

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER", help="One folder a class; or support/ with one folder a class, and query/."
    ),
]
Ways = Annotated[int, typer.Option("--n-ways", help="Classes of an episode.")]
Shots = Annotated[int, typer.Option("--k-shots", help="Labelled images of a class.")]
Episodes = Annotated[int, typer.Option("--episodes", help="Episodes to draw.")]
Part = Annotated[
    str, typer.Option("--part", help="Images to draw from: all; train or eval (80/20 by file name).")
]
Save = Annotated[
    Path | None,
    typer.Option("--save-episodes", help="Write the episodes, to classify them again.", metavar="FILE.jsonl"),
]
From = Annotated[
    Path | None,
    typer.Option("--episodes-from", help="Classify the episodes of this file.", metavar="FILE.jsonl"),
]
BASELINES = {
    "prototype": "nearest prototype, no LLM",
    "shared words": "most shared words, no LLM",
    "majority": "majority label",
    "zero-shot": "zero-shot by class name",
}


@expand_options
def fewshot_classify(
    ctx: typer.Context,
    folder: Folder,
    n_ways: Ways = 2,
    k_shots: Shots = 1,
    episodes: Episodes = 100,
    part: Part = "all",
    words: Words = None,
    induction: Induction = None,
    repeats: Repeats = None,
    save: Save = None,
    episodes_from: From = None,
    tokenizer: Tokenizer = None,
    llm: Llm = None,
    json: Json = False,
    *,
    chosen: MethodOptions,
) -> None:
    """Classify photographs from a few labelled ones, by the frozen LLM, beside baselines without an LLM."""
    from v2l.datasets import save_episodes
    from v2l.images import Skipped
    from v2l.tasks.classification.fewshot import FewShotSettings, evaluate_fewshot, find_episodes, find_part

    given = options(ctx)
    skipped = Skipped()
    with output(json) as out:
        method = chosen.method(count=words, induction=induction, repeats=repeats)
        settings = FewShotSettings(n_ways, k_shots, episodes, given.seed, find_part(part), method)
        drawn = find_episodes(folder, settings, skipped, episodes_from)
        if save is not None:
            save_episodes(drawn, save, folder)
        pipeline = load_pipeline(given, tokenizer, llm)
        with progress() as report_progress:
            result = evaluate_fewshot(pipeline, drawn, settings, report_progress, skipped)
        out.result(
            result.to_dict() | {"predictions": [asdict(prediction) for prediction in result.predictions]},
            page(result),
        )
        if skipped:
            out.note(skipped.report())


def page(result: FewShotResult) -> str:
    """The accuracies as text; without known classes, every query with its label; then a line for each image
    with too little to see.
    """
    lines = labels(result) if result.accuracy is None else accuracies(result)
    return "\n".join([*lines, *(f"{image}: {note}" for image, note in result.notes.items())])


def labels(result: FewShotResult) -> list[str]:
    """Every query with its label."""
    return [f"{prediction.query}: {prediction.text}" for prediction in result.predictions]


def accuracies(result: FewShotResult) -> list[str]:
    """The accuracy of the LLM and those of the baselines."""
    report, settings = result.to_dict(), result.settings
    method = settings.method
    rows = [(f"{report['stack']['llm']}, {method.rule}", report["accuracy"])]
    rows += [
        (BASELINES[name], figure.to_dict())
        for name, figure in result.baselines.items()
        if figure and name != "majority"
    ]
    shape = f"{settings.n_ways}-way {settings.k_shots}-shot"
    first_line = f"{shape}, {report['n']} episodes, seed {settings.seed}, {method.words.count} words an image"
    return [
        first_line,
        *(f"  {name:<28} {percent(figure)}" for name, figure in rows),
        f"  {'chance':<28} {100 / settings.n_ways:5.1f} %",
    ]


def percent(figure: dict[str, Any]) -> str:
    """A share with its interval of 95 %."""
    low, high = (100 * bound for bound in figure["interval"])
    return f"{100 * figure['value']:5.1f} %  (95 %: {low:.1f} to {high:.1f})"
