"""v2l words: photographs ──► the LLM's words for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.options import Checkpoint, Json, options
from v2l.cli.output import output
from v2l.cli.pipeline import load_pipeline
from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.codebook.codebook import Codebook
    from v2l.tokens import Word

Photographs = Annotated[
    list[Path],
    typer.Argument(
        metavar="IMAGE", help="Photographs, or folders of them; with --json one line of JSON each."
    ),
]
Count = Annotated[int, typer.Option("--count", "-n", help="Global words an image, nearest first.", min=1)]
Local = Annotated[
    bool, typer.Option("--local", help="The grid of local tokens too: one subword for each 8 × 8 pixels.")
]


def words(
    ctx: typer.Context,
    images: Photographs,
    count: Count = 8,
    local: Local = False,
    checkpoint: Checkpoint = None,
    json: Json = False,
) -> None:
    """Name what is in photographs, in words of the frozen LLM's vocabulary, with the cosine of each."""
    from v2l.images import Skipped, load_images
    from v2l.sources import find_images, is_container

    paths = [path for place in images for path in (find_images(place) if is_container(place) else [place])]
    skipped = Skipped()
    with output(json) as out:
        pipeline = load_pipeline(options(ctx), checkpoint)
        if count > (most := pipeline.tokenizer.config.model.global_tokens):
            raise V2LError(
                f"got --count {count}", f"1 to {most}, the global words of this checkpoint", f"--count {most}"
            )
        for path, image in load_images(paths, skipped):
            tokens = pipeline.tokenizer.encode(image[None])
            found = tokens.words[0][:count]
            record = {
                "image": str(path),
                "words": [vars(word) for word in found],
                "stack": pipeline.describe(),
            }
            text = line(path, found)
            if local:
                record["local_ids"] = tokens.local_ids[0].tolist()
                text += "\n" + grid(local_words(pipeline.tokenizer.local_codebook, record["local_ids"]))
            out.result(record, text)
        if len(skipped) == len(paths):
            raise V2LError(f"none of {len(paths)} file(s) could be read; the first: {skipped.files[0][1]}")
        if skipped:
            out.note(skipped.report())


def line(path: Path, found: Sequence[Word]) -> str:
    """One image for people: its name, then its words with their cosines."""
    return f"{path}: " + ", ".join(f"{word.word} {word.score:.2f}" for word in found)


def local_words(codebook: Codebook, local_ids: list[list[int]]) -> list[list[str]]:
    """The grid of token ids as the codebook's words."""
    return [[codebook.words[codebook.row_of_token[token_id]] for token_id in row] for row in local_ids]


def grid(rows: Sequence[Sequence[str]]) -> str:
    """Local words as a table of columns."""
    widths = [max(len(word) for word in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  " + " ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
