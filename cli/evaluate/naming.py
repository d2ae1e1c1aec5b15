"""v2l evaluate naming: a folder of classes + an adapter ──► the share of images whose class it chooses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.options import Json, Llm, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.progress import progress

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="One folder of images for each class.")]
Classes = Annotated[int, typer.Option("--classes", help="Names to choose from, drawn by --seed.", min=2)]
PerClass = Annotated[int, typer.Option("--per-class", help="Images of a class at most.", min=1)]


def evaluate_naming(
    ctx: typer.Context,
    folder: Folder,
    classes: Classes = 20,
    per_class: PerClass = 10,
    tokenizer: Tokenizer = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Measure how often an adapter's soft tokens name the class of an image, of some classes.

    The images are the eval part of the folder. Classes of the adapter's training and classes that it never
    saw are measured apart. Beside it: words for the same LLM, and two baselines without an LLM.
    """
    from v2l.evaluation.class_naming import ChoiceSettings, draw_tasks, evaluate_choice
    from v2l.pipeline.pipeline import Pipeline
    from v2l.tokenizers.needs import gives

    given = options(ctx)
    with output(json) as out:
        settings = ChoiceSettings(classes, per_class, given.seed)
        pipeline = load_pipeline(given, tokenizer, llm)
        is_soft = gives(pipeline.tokenizer, "embeddings")
        words = Pipeline(load_pipeline(given, None).tokenizer, pipeline.llm) if is_soft else pipeline
        trained = pipeline.tokenizer.facts.get("classes", []) if is_soft else []
        tasks = draw_tasks(folder, trained, settings)
        with progress() as report:
            results = [evaluate_choice(pipeline if is_soft else None, words, task, report) for task in tasks]
        record = {
            "tasks": {result.task.title: result.to_dict() for result in results},
            "seed": given.seed,
            "stack": pipeline.describe(),
        }
        out.result(record, "\n\n".join(result.page() for result in results))
