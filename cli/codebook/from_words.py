"""v2l codebook from-words: a list of words ──► a codebook of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.codebook.build import Encoder
from v2l.cli.codebook.directory import Target, write_codebook
from v2l.cli.options import Json, Llm, options
from v2l.cli.progress import progress

if TYPE_CHECKING:
    from v2l.codebook.codebook import Codebook

Words = Annotated[Path, typer.Argument(metavar="FILE.txt", help="One word or phrase a line, each once.")]


def codebook_from_words(
    ctx: typer.Context,
    words: Words,
    target: Target,
    encoder: Encoder = None,
    llm: Llm = None,
    json: Json = False,
) -> None:
    """Make a codebook of your own words; v2l codebook merge adds it to another one."""
    from v2l.codebook.embedding import WordEmbedder
    from v2l.codebook.wordlist import codebook_of_words, read_words
    from v2l.config import load_config
    from v2l.encoders import load_encoder
    from v2l.llm import load_llm
    from v2l.shards import Shards
    from v2l.zoo import cache_home

    given = options(ctx)
    config = load_config(given.config)

    def embedded() -> Codebook:
        listed = read_words(words)
        joint = load_encoder(encoder or config.models.encoder, given.device)
        frozen = load_llm(llm or config.models.llm, given.device, given.dtype)
        embedder = WordEmbedder(
            joint, config.codebook.templates or joint.templates, config.codebook.renormalize
        )
        with progress() as report:
            shards = Shards(cache_home() / "build", "embedding words", report)
            return codebook_of_words(listed, frozen, embedder, shards)

    write_codebook(embedded, target, json)
