"""options of caption, vqa and prompt ──► settings, a pipeline or a server, and one line for each image."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.options import Json, Llm, Options, Tokenizer
from v2l.cli.output import Output
from v2l.cli.pipeline import load_pipeline
from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.llm.endpoint import Endpoint
    from v2l.tasks.description.describe import Describer, Description

Photographs = Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Photographs, or folders of them.")]
Examples = Annotated[
    Path | None,
    typer.Option(
        help="Your own examples, JSON: a list or one a line, each with caption, or question and answer; and "
        "with image or words.",
        metavar="FILE.json",
    ),
]
Shots = Annotated[
    int | None,
    typer.Option(
        "--shots", help="Examples in the prompt, the first of the file; by default the wording's own."
    ),
]
Words = Annotated[
    int | None, typer.Option("--words", help="Global words of an image; by default the wording's own.")
]
Wording = Annotated[str, typer.Option("--prompt", help="Wording of the prompt: tuned, paper.")]
Candidates = Annotated[
    int,
    typer.Option(
        "--candidates", help="Sample so many answers; the joint encoder takes the nearest to the image."
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--endpoint",
        help="Use a server's LLM, by OpenAI's protocol; its key: OPENAI_API_KEY.",
        metavar="URL",
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--endpoint-model", help="The server's name for the LLM; by default its only one."),
]
Timeout = Annotated[
    float, typer.Option("--endpoint-timeout", help="Seconds that the server may take for an answer.")
]
MaxTokens = Annotated[
    int,
    typer.Option(
        "--endpoint-max-tokens",
        help="Tokens of a thought and its answer together, for a model whose thinking cannot be turned off.",
    ),
]
MAX_TOKENS = 2048  # as in v2l.llm.endpoint, which is not imported for help


@dataclass(frozen=True)
class DescribeOptions:
    """The options that caption, vqa and evaluate describe share; each field is the option of its name."""

    examples: Examples = None
    shots: Shots = None
    words: Words = None
    prompt: Wording = "tuned"
    candidates: Candidates = 1
    endpoint: Url = None
    endpoint_model: Model = None
    endpoint_timeout: Timeout = 60.0
    endpoint_max_tokens: MaxTokens = MAX_TOKENS
    tokenizer: Tokenizer = None
    llm: Llm = None
    json: Json = False

    def load(self, given: Options) -> Callable[[str], Describer]:
        """Open the server and load the pipeline: task (caption or vqa) ──► its describer.

        Raises:
            V2LError: an option is not allowed, or a model is missing.
        """
        from v2l.tasks.description.describe import Describer, DescribeSettings

        server = open_endpoint(
            self.endpoint, self.endpoint_model, self.endpoint_timeout, self.endpoint_max_tokens
        )
        settings = DescribeSettings(
            self.prompt, self.words, self.shots, self.examples, self.candidates, seed=given.seed
        )
        pipeline = load_pipeline(given, self.tokenizer, self.llm)
        return lambda task: Describer(pipeline, task, settings, server)


def open_endpoint(
    url: str | None, model: str | None, timeout: float, max_tokens: int = MAX_TOKENS
) -> Endpoint | None:
    """The server at this address; None without an address.

    Raises:
        V2LError: the address is not valid or may not be used offline, or a model was named without a server.
    """
    if url is None:
        if model is not None:
            raise V2LError(f"got --endpoint-model {model} without a server", "--endpoint URL beside it")
        return None
    from v2l.llm.endpoint import Endpoint

    return Endpoint(url, model, timeout, max_tokens=max_tokens, note=note)


def note(text: str) -> None:
    """A line on standard error while a server is waited for."""
    print(text, file=sys.stderr, flush=True)


def print_descriptions(
    out: Output,
    describer: Describer,
    places: list[Path],
    question: str,
    record: Callable[..., dict[str, Any]],
) -> None:
    """Print one line for each image; unreadable files are skipped, counted and listed.

    Args:
        out: standard output.
        describer: the task.
        places: files, and folders of files.
        question: of every image; empty for captions.
        record: description ──► the task's own keys of the JSON record.

    Raises:
        V2LError: not one image can be read, or the LLM cannot answer.
    """
    from v2l.images import Skipped
    from v2l.sources import find_images, is_container

    files = [file for place in places for file in (find_images(place) if is_container(place) else [place])]
    skipped = Skipped()
    if remark := describer.remark():
        out.note(remark)
    for file, description in describer.over(files, skipped, question):
        out.result_with_note(
            {"image": str(file), **record(description), **evidence(description), **describer.report()},
            f"{file}: {description.text}",
            description.note,
        )
    if len(skipped) == len(files):
        raise V2LError(f"none of {len(files)} file(s) could be read; the first: {skipped.files[0][1]}")
    if skipped:
        out.note(skipped.report())


def evidence(description: Description) -> dict[str, Any]:
    """The words that an answer was generated from, and the candidates that it was chosen from."""
    candidates = [vars(candidate) for candidate in description.candidates]
    return {"words": list(description.words), "candidates": candidates}
