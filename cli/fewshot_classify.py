"""v2l fewshot-classify: folders of photographs ──► the class of each query, chosen by the frozen LLM."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.options import Checkpoint, Json, Llm, options
from v2l.cli.output import output
from v2l.cli.progress import progress
from v2l.cli.stack import load_stack

if TYPE_CHECKING:
    from v2l.tasks.fewshot import FewShotResult, Prediction

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="One folder a class; or support/ with one folder a class, and query/.")]
Ways = Annotated[int, typer.Option("--n-ways", help="Classes of an episode.")]
Shots = Annotated[int, typer.Option("--k-shots", help="Labelled images of a class.")]
Episodes = Annotated[int, typer.Option("--episodes", help="Episodes to draw.")]
Words = Annotated[int, typer.Option("--words", help="Global words of an image.")]
Part = Annotated[str, typer.Option("--part", help="Images to draw from: all; train or eval (80/20 by file name).")]
Rule = Annotated[
    str,
    typer.Option(
        "--rule",
        help="What decides: loglikelihood, log p(label | words), the paper's; calibrated, the same less the LLM's own liking; "
        "channel, log p(words | label); both, the sum of the last two.",
    ),
]
Wording = Annotated[str, typer.Option("--prompt", help="Wording of the prompt: tuned, paper, official.")]
Induction = Annotated[bool, typer.Option("--induction/--no-induction", help="Whether the paper's prompt names the labels first.")]
Repeats = Annotated[int, typer.Option("--repeats", help="How often the support is repeated in the prompt.")]


def fewshot_classify(
    ctx: typer.Context,
    folder: Folder,
    n_ways: Ways = 2,
    k_shots: Shots = 1,
    episodes: Episodes = 100,
    words: Words = 8,
    part: Part = "all",
    rule: Rule = "both",
    prompt: Wording = "tuned",
    induction: Induction = False,
    repeats: Repeats = 0,
    checkpoint: Checkpoint = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Classify photographs from a few labelled ones, by the frozen LLM, beside chance and the nearest prototype."""
    from v2l.images import Skipped
    from v2l.tasks.fewshot import FewShotSettings, evaluate_fewshot, find_episodes

    given = options(ctx)
    skipped = Skipped()
    with output(json) as out:
        settings = FewShotSettings(n_ways, k_shots, episodes, given.seed, part, words, rule, prompt, induction, repeats)
        asked = find_episodes(folder, settings, skipped)
        stack = load_stack(given, checkpoint, llm)
        with progress() as tell:
            result = evaluate_fewshot(stack, asked, settings, lambda done, total: tell("episodes", done, total))
        record = result.to_dict() | {"predictions": [answer(prediction) for prediction in result.predictions]}
        out.result(record, page(result))
        if skipped:
            out.note(skipped.report())


def answer(prediction: Prediction) -> dict[str, Any]:
    """One answer as JSON holds it."""
    return vars(prediction) | {"query": str(prediction.query)}


def page(result: FewShotResult) -> str:
    """The figures for people; without known classes, every query with its label."""
    if result.accuracy is None or result.prototype_accuracy is None:
        return "\n".join(f"{prediction.query}: {prediction.label}" for prediction in result.predictions)
    report, settings = result.to_dict(), result.settings
    rows = [
        (f"{report['stack']['llm']}, {settings.rule}", result.accuracy),
        ("nearest prototype, no LLM", result.prototype_accuracy),
    ]
    asked = (
        f"{result.n_labels}-way {settings.k_shots}-shot, {report['n']} episodes, seed {settings.seed}, {settings.n_words} words an image"
    )
    lines = [asked]
    lines += [f"  {name:<28} {percent(figure.to_dict())}" for name, figure in rows]
    return "\n".join([*lines, f"  {'chance':<28} {100 / result.n_labels:5.1f} %"])


def percent(figure: dict[str, Any]) -> str:
    """A share with its interval of 95 %."""
    low, high = (100 * bound for bound in figure["interval"])
    return f"{100 * figure['value']:5.1f} %  (95 %: {low:.1f} to {high:.1f})"
