"""v2l vqa: photographs and a question ──► a one-word answer each, by the frozen LLM from their words."""

from __future__ import annotations

from typing import Annotated

import typer

from v2l.cli.describe.options import (
    MAX_TOKENS,
    Candidates,
    Examples,
    MaxTokens,
    Model,
    Photographs,
    Shots,
    Timeout,
    Url,
    Wording,
    Words,
    open_endpoint,
    print_descriptions,
)
from v2l.cli.options import Checkpoint, Json, Llm, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline

Question = Annotated[str, typer.Argument(metavar="QUESTION", help="What is asked about every image.")]


def vqa(
    ctx: typer.Context,
    images: Photographs,
    question: Question,
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
    """Answer a question about photographs in a word, which the frozen LLM tells from their words."""
    from v2l.prompts.vqa import check_question
    from v2l.tasks.description.describe import Describer, DescribeSettings

    given = options(ctx)
    with output(json) as out:
        asked = check_question(question)
        server = open_endpoint(endpoint, endpoint_model, endpoint_timeout, endpoint_max_tokens)
        settings = DescribeSettings(prompt, words, shots, examples, candidates, seed=given.seed)
        describer = Describer(load_pipeline(given, checkpoint, llm), "vqa", settings, server)
        print_descriptions(
            out, describer, images, asked, lambda said: {"question": asked, "answer": said.text}
        )
