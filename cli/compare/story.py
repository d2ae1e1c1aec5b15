"""v2l story: photographs in order ──► a short story about them, written by the frozen LLM."""

from __future__ import annotations

from typing import Annotated

import typer

from v2l.cli.compare.options import GroupOfImages, describe_guided, group_files, load_group
from v2l.cli.options import Json, Llm, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline

Words = Annotated[int, typer.Option("--words", help="Words of each photograph in the prompt.", min=1)]
Temperature = Annotated[
    float, typer.Option("--temperature", help="0 writes the likeliest story; above 0 --seed draws another.")
]


def story(
    ctx: typer.Context,
    images: GroupOfImages,
    words: Words = 3,
    temperature: Temperature = 0.0,
    tokenizer: Tokenizer = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Write a short story about photographs, one sentence for each in their order.

    The frozen LLM reads the words of the photographs and makes up the rest; with an adapter for sets (v2l
    train-sam) it reads soft tokens, and says what follows what.
    """
    from v2l.tasks.comparison.group import check_size
    from v2l.tasks.comparison.story import StorySettings, write_story

    given = options(ctx)
    with output(json) as out:
        settings = StorySettings(words, temperature, given.seed)
        files = check_size(group_files(images), 2)
        pipeline = load_pipeline(given, tokenizer, llm)
        if describe_guided(pipeline, files, "story", out):
            return
        group = load_group(pipeline, files, 2, words)
        text = write_story(pipeline.llm, group, settings)
        record = {
            "images": list(map(str, files)),
            "story": text,
            "words": [list(image.words) for image in group.images],
            "notes": list(group.notes),
            "stack": pipeline.describe(),
        }
        out.result(record, text)
        for note in group.notes:
            out.note(note)
