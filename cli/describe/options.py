"""options of caption, vqa and prompt ──► settings, a server if one is asked, and one line an image."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.output import Output
from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.llm.endpoint import Endpoint
    from v2l.tasks.description.describe import Describer, Description

Photographs = Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Photographs, or folders of them.")]
Examples = Annotated[
    Path | None,
    typer.Option(
        help="Your own examples, JSON: a list or one a line, each with caption, or question and answer; and with image or words.",
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
        help="Ask a server instead, by OpenAI's protocol; its key: OPENAI_API_KEY.",
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
        help="Tokens of a thought and its answer together, for a reasoning model that cannot be stopped thinking.",
    ),
]
MAX_TOKENS = 2048  # as in v2l.llm.endpoint, which is not imported for help


def open_endpoint(
    url: str | None, model: str | None, timeout: float, max_tokens: int = MAX_TOKENS
) -> Endpoint | None:
    """The server that was asked for, if any.

    Raises:
        V2LError: its address is none, or may not be used offline; or a model was named without a server.
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
    """One line an image; what cannot be read is left out, counted and listed.

    Args:
        out: where they go.
        describer: the task.
        places: files, and folders of files.
        question: of every image; empty for captions.
        record: from what the LLM said to the task's own keys of the record.

    Raises:
        V2LError: not one image can be read, or the LLM cannot be asked.
    """
    from v2l.images import Skipped
    from v2l.sources import find_images, is_container

    files = [file for place in places for file in (find_images(place) if is_container(place) else [place])]
    skipped = Skipped()
    if remark := describer.remark():
        out.note(remark)
    for file, said in describer.over(files, skipped, question):
        out.result(
            {"image": str(file), **record(said), **found(said), **describer.report()}, f"{file}: {said.text}"
        )
    if len(skipped) == len(files):
        raise V2LError(f"none of {len(files)} file(s) could be read; the first: {skipped.files[0][1]}")
    if skipped:
        out.note(skipped.report())


def found(said: Description) -> dict[str, Any]:
    """What stood behind an answer."""
    return {"words": list(said.words), "candidates": [vars(candidate) for candidate in said.candidates]}
