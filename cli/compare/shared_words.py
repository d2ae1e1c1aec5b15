"""v2l common: a group of photographs ──► the words that all of them share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from v2l.cli.compare.options import Count, GroupOfImages, describe_guided, group_files, load_group
from v2l.cli.options import Json, Tokenizer, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline

if TYPE_CHECKING:
    from v2l.tasks.comparison.shared_words import SharedWord


def common(
    ctx: typer.Context,
    images: GroupOfImages,
    count: Count = 5,
    tokenizer: Tokenizer = None,
    json: Json = False,
) -> None:
    """Find what photographs have in common, in words of the frozen LLM's vocabulary.

    A photograph that does not fit the others counts little. With an adapter for sets (v2l train-sam) the LLM
    says it in a sentence.
    """
    from v2l.tasks.comparison.group import OWN_WORDS, check_size
    from v2l.tasks.comparison.shared_words import common_words

    with output(json) as out:
        files = check_size(group_files(images), 2)
        pipeline = load_pipeline(options(ctx), tokenizer)
        if describe_guided(pipeline, files, "common", out):
            return
        group = load_group(pipeline, files, 2, OWN_WORDS.count)
        words = common_words(group, count)
        record = {
            "images": list(map(str, files)),
            "words": [vars(word) for word in words],
            "notes": list(group.notes),
            "stack": pipeline.describe(),
        }
        out.result(record, page(words, len(files)))
        for note in group.notes:
            out.note(note)


def page(words: tuple[SharedWord, ...], images: int) -> str:
    """For people: each word with its mean cosine, and in how many images it is one of the nearest words."""
    if not words:
        return "no shared words"
    width = max(len(word.word) for word in words)
    return "\n".join(
        f"{word.word:<{width}}  {word.score:.2f}  among the words of {word.images} of {images} images"
        for word in words
    )
