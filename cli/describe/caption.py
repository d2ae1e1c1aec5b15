"""v2l caption: photographs ──► a sentence each, by the frozen LLM from their words."""

from __future__ import annotations

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


def caption(
    ctx: typer.Context,
    images: Photographs,
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
    """Describe photographs in a sentence each, which the frozen LLM writes from their words."""
    from v2l.tasks.description.describe import Describer, DescribeSettings

    given = options(ctx)
    with output(json) as out:
        server = open_endpoint(endpoint, endpoint_model, endpoint_timeout, endpoint_max_tokens)
        settings = DescribeSettings(prompt, words, shots, examples, candidates, seed=given.seed)
        describer = Describer(load_pipeline(given, checkpoint, llm), "caption", settings, server)
        print_descriptions(out, describer, images, "", lambda said: {"caption": said.text})
