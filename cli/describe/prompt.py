"""v2l prompt: a photograph and a task ──► the prompt as text for any LLM, or a server's answer to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.describe.options import (
    MAX_TOKENS,
    Examples,
    MaxTokens,
    Model,
    Timeout,
    Url,
    open_endpoint,
)
from v2l.cli.options import Json, Photograph, Tokenizer, options
from v2l.cli.output import Output, output
from v2l.cli.pipeline import load_pipeline
from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.llm.endpoint import Endpoint
    from v2l.pipeline.pipeline import Pipeline

TASKS = ("caption", "vqa", "classify")
Task = Annotated[str, typer.Option("--task", help="caption, vqa, classify.")]
Question = Annotated[str, typer.Option("--question", help="vqa: the question about the image.")]
Support = Annotated[
    Path | None,
    typer.Option("--support", help="classify: labelled images, one folder a class.", metavar="FOLDER"),
]
KShots = Annotated[
    int, typer.Option("--k-shots", help="classify: labelled images of a class, drawn by --seed.", min=1)
]
Shots = Annotated[
    int | None, typer.Option("--shots", help="caption, vqa: examples in the prompt, the first of the file.")
]
Words = Annotated[
    int | None, typer.Option("--words", help="Global words of an image; by default the wording's own.")
]
Wording = Annotated[
    str, typer.Option("--prompt", help="Wording of the prompt: tuned, paper; to classify also official.")
]


@dataclass(frozen=True)
class Wanted:
    """One image and what is wanted of it.

    Attributes:
        image: its file.
        task: caption, vqa or classify.
        question: for vqa.
        support: for classify.
        k_shots: for classify.
    """

    image: Path
    task: str
    question: str = ""
    support: Path | None = None
    k_shots: int = 1

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            V2LError: the task is unknown, or lacks what it needs.
        """
        if self.task not in TASKS:
            raise V2LError(f"got --task {self.task}", ", ".join(TASKS), "--task caption")
        if self.task == "classify" and self.support is None:
            raise V2LError(
                "to classify, labelled images are needed",
                "--support FOLDER, one folder of images for each class",
            )


def prompt(
    ctx: typer.Context,
    image: Photograph,
    task: Task = "caption",
    question: Question = "",
    support: Support = None,
    k_shots: KShots = 1,
    examples: Examples = None,
    shots: Shots = None,
    words: Words = None,
    wording: Wording = "tuned",
    endpoint: Url = None,
    endpoint_model: Model = None,
    endpoint_timeout: Timeout = 60.0,
    endpoint_max_tokens: MaxTokens = MAX_TOKENS,
    tokenizer: Tokenizer = None,
    json: Json = False,
) -> None:
    """Print the prompt about a photograph for any LLM; with --endpoint, a server's answer to it."""
    from v2l.tasks.classification.prompt_only_labels import LabelPromptSettings
    from v2l.tasks.description.describe import DescribeSettings

    given = options(ctx)
    with output(json) as out:
        wanted = Wanted(image, task, question, support, k_shots)
        wanted.check()
        server = open_endpoint(endpoint, endpoint_model, endpoint_timeout, endpoint_max_tokens)
        pipeline = load_pipeline(given, tokenizer)
        if task == "classify":
            record = classify(
                out, pipeline, wanted, LabelPromptSettings.of(wording, k_shots, words, given.seed), server
            )
        else:
            record = describe(
                out,
                pipeline,
                wanted,
                DescribeSettings(wording, words, shots, examples, seed=given.seed),
                server,
            )
        if record["note"] is not None:
            out.note(f"{image}: {record['note']}")  # not below the prompt, which is pasted elsewhere
        out.result(
            {"image": str(image), "task": task, **record},
            f"{image}: {record['answer']}" if server else record["prompt"],
        )


def describe(
    out: Output, pipeline: Pipeline, wanted: Wanted, settings: Any, server: Endpoint | None
) -> dict[str, Any]:
    """The record of a caption or an answer: its prompt and, with a server, the server's answer."""
    from v2l.images import load_image
    from v2l.tasks.description.describe import Describer

    describer = Describer(pipeline, wanted.task, settings, server)
    describer.dialogue((), wanted.question)  # raises errors before the image is read
    if remark := describer.remark():
        out.note(remark)
    (image,) = describer.words_of([load_image(wanted.image)])
    dialogue = describer.dialogue(image.evidence, wanted.question)
    record = {
        "prompt": dialogue.text,
        "turns": dialogue.turns,
        "words": list(image.words),
        "note": image.note,
        **describer.report(),
    }
    return record | {"answer": describer.describe([image], [wanted.question])[0].text} if server else record


def classify(
    out: Output, pipeline: Pipeline, wanted: Wanted, settings: Any, server: Endpoint | None
) -> dict[str, Any]:
    """The record of a label: its prompt and, with a server, the answer and the label that it matches."""
    from v2l.images import Skipped
    from v2l.tasks.classification.prompt_only_labels import RULE, build_label_prompt, draw_support
    from v2l.tasks.description.dialogue_generation import describe_llm

    skipped = Skipped()
    if wanted.support is None:
        raise ValueError("`Wanted.check` refuses to classify without labelled images")
    support = draw_support(wanted.support, wanted.image, settings, skipped)
    label_prompt = build_label_prompt(pipeline, wanted.image, support, settings)
    if skipped:
        out.note(skipped.report())
    notes = label_prompt.notes
    for shot in support:
        if shot.path in notes:
            out.note(f"{shot.path}: {notes[shot.path]}")
    shown = [{"image": str(shot.path), "label": shot.label, "note": notes.get(shot.path)} for shot in support]
    record = {
        "prompt": label_prompt.text,
        "support": shown,
        "words": list(label_prompt.words),
        "note": notes.get(wanted.image),
        "stack": describe_llm(pipeline, server),
    }
    if server is None:
        return record
    answer = label_prompt.generate(server)
    return record | {"answer": answer, "label": label_prompt.parse(answer), "rule": RULE}
