"""v2l ask: a JSON list of images, texts and boxes ──► the frozen LLM's answer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.describe.options import MAX_TOKENS, MaxTokens, Model, Timeout, Url, open_endpoint
from v2l.cli.option_groups import expand_options
from v2l.cli.options import Json, Llm, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.cli.regions import RegionOptions

Request = Annotated[
    Path,
    typer.Argument(
        metavar="FILE.json",
        help='Parts in order: {"image": FILE}, {"text": TEXT}, {"ref": PHRASE, "box": [x1, y1, x2, y2]}.',
    ),
]
Wording = Annotated[
    str, typer.Option("--prompt", help="Wording of the prompt: tuned, or qwen with its marks.")
]
Words = Annotated[int, typer.Option("--words", help="Words of an image.", min=1)]
PromptOnly = Annotated[
    bool, typer.Option("--prompt-only", help="Print the prompt for any LLM; nothing is generated.")
]


@expand_options
def ask(
    ctx: typer.Context,
    request: Request,
    words: Words = 5,
    prompt: Wording = "tuned",
    prompt_only: PromptOnly = False,
    endpoint: Url = None,
    endpoint_model: Model = None,
    endpoint_timeout: Timeout = 60.0,
    endpoint_max_tokens: MaxTokens = MAX_TOKENS,
    tokenizer: Tokenizer = None,
    llm: Llm = None,
    json: Json = False,
    *,
    regions: RegionOptions,
) -> None:
    """Answer a request of images, texts and boxes; a box is in pixels of the image before it."""
    from v2l.prompts.entries import read_entries
    from v2l.tasks.description.dialogue_generation import describe_llm
    from v2l.tasks.description.interleaved import AskSettings, Reply, ask, build_prompt

    given = options(ctx)
    with output(json) as out:
        parts = [entry.values for entry in read_entries(request)]
        server = open_endpoint(endpoint, endpoint_model, endpoint_timeout, endpoint_max_tokens)
        pipeline = regions.apply(load_pipeline(given, tokenizer, llm))
        settings = AskSettings(prompt, words, seed=given.seed)
        if prompt_only:
            built, found = build_prompt(pipeline, parts, settings, request.parent)
            reply = Reply(None, built.text(str), found)
        else:
            reply = ask(pipeline, parts, settings, server, request.parent)
        record = {"answer": reply.text, "prompt": reply.prompt, "words": [list(some) for some in reply.words]}
        stack = describe_llm(pipeline, server)
        answer = reply.prompt if reply.text is None else reply.text or "(the LLM wrote an empty answer)"
        out.result({**record, "settings": vars(settings), "stack": stack}, answer)
