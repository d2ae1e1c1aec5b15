"""v2l build-codebook: the LLM's vocabulary + photographs ──► the local and the global codebook."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.options import Json, Llm, OptionalEngine, Workers, chosen_engine, options
from v2l.cli.output import output
from v2l.cli.progress import progress
from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.codebook.codebook import Codebook
    from v2l.config import CodebookConfig

Images = Annotated[
    list[str],
    typer.Option(
        help="Photographs; words that are near to none of them are dropped. "
        "A folder, an image, a list (.csv, .txt) or a tar shard, "
        "PLACE@train or PLACE@eval for a part of it; may be given several times.",
        metavar="PLACE",
    ),
]
Target = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help="Directory to write; an older build there is replaced when all is done.",
        metavar="DIR",
    ),
]
Encoder = Annotated[
    str | None,
    typer.Option(
        help="Joint encoder: conse:mean, conse:with, conse, openclip:MODEL/TAG or openclip:MODEL@FILE."
    ),
]
Candidates = Annotated[
    str | None,
    typer.Option(
        help="Where the global codebook's words come from: llm (n-grams that the LLM continues, as the paper "
        "does), lexicon (words that people use), or llm,lexicon.",
        metavar="llm,lexicon",
    ),
]
Lexicon = Annotated[
    str | None,
    typer.Option(
        help="Sources of the lexicon, with commas between: synsets (nouns of ImageNet-21k with definitions), "
        "frequent (frequent words of --language), or a file: .csv with the columns word and definition, or "
        "a word a line.",
        metavar="SOURCE,…",
    ),
]
Language = Annotated[
    str | None,
    typer.Option(help="Language of the frequent words: en, de, … of wordfreq.", metavar="CODE"),
]
Dropped = Annotated[
    Path | None,
    typer.Option(help="Table to write: every word that is no candidate, and the reason.", metavar="FILE.csv"),
]
MinCount = Annotated[
    int | None, typer.Option(help="Photographs that must have a word among their nearest.", min=0)
]
Keep = Annotated[
    str | None,
    typer.Option(
        help="Keep only the words most often seen: so many, or a share of the candidates (20%).",
        metavar="N|P%",
    ),
]
KeepCandidates = Annotated[
    bool, typer.Option("--keep-candidates", help="Write the words before the filter too, with their counts.")
]
Replace = Annotated[
    bool, typer.Option("--replace", help="Replace a build that was begun or finished with other settings.")
]


def build_codebook(
    ctx: typer.Context,
    images: Images,
    target: Target = Path("codebooks"),
    encoder: Encoder = None,
    llm: Llm = None,
    candidates: Candidates = None,
    lexicon: Lexicon = None,
    language: Language = None,
    min_count: MinCount = None,
    keep: Keep = None,
    dropped: Dropped = None,
    keep_candidates: KeepCandidates = False,
    replace_other: Replace = False,
    engine: OptionalEngine = None,
    workers: Workers = None,
    json: Json = False,
) -> None:
    """Build both codebooks from the LLM's vocabulary; an interrupted build continues where it stopped.

    Encodings are kept in the user's cache, so another threshold encodes nothing again. torchrun divides a
    build among processes; --engine divides the encoding of the photographs alone.
    """
    from v2l.codebook.build import CodebookBuilder
    from v2l.config import load_config
    from v2l.encoders import load_encoder
    from v2l.llm import load_llm
    from v2l.processes import join_world
    from v2l.progress import silent
    from v2l.sources import find_images
    from v2l.zoo import cache_home

    given = options(ctx)
    config = load_config(given.config)
    settings = word_settings(config.codebook, candidates, lexicon, language)
    settings = filter_settings(settings, min_count, keep)
    with output(json) as out:
        chosen = chosen_engine(engine, workers, given.device)
        photographs = find_images(*images)
        world = join_world(given.device)
        if chosen is not None and world.count > 1:
            raise V2LError(
                f"got --engine in one of {world.count} processes", "torchrun or --engine, not both"
            )
        joint = load_encoder(encoder or config.models.encoder, world.device)
        frozen = load_llm(llm or config.models.llm, world.device, given.dtype)
        with progress() if world.leads else nullcontext(silent) as report:
            builder = CodebookBuilder(
                joint,
                frozen,
                settings,
                cache_home() / "build",
                report,
                cache_home() / "images",
                world,
                dropped,
                chosen,
            )
            local, filtered = builder.build(photographs, target, keep_candidates, replace_other)
        if world.leads:
            record = {
                "output": str(target),
                "stack": vars(local.source),
                "local": summary(local),
                "global": summary(filtered),
            }
            out.result(
                record,
                f"{target}: {len(local):,} local and {len(filtered):,} global words of {local.source.llm}",
            )


def word_settings(
    settings: CodebookConfig, candidates: str | None, lexicon: str | None, language: str | None
) -> CodebookConfig:
    """The config's settings with the words of --candidates, --lexicon and --language."""
    given: dict[str, Any] = {}
    if candidates is not None:
        given["candidates"] = tuple(part.strip() for part in candidates.split(","))
    if lexicon is not None:
        given["lexicon"] = tuple(part.strip() for part in lexicon.split(","))
    if language is not None:
        given["language"] = language
    return replace(settings, **given)


def filter_settings(settings: CodebookConfig, min_count: int | None, keep: str | None) -> CodebookConfig:
    """The config's settings with the filter of --min-count and --keep."""
    from v2l.codebook.filtering import Rule

    if keep is not None:
        limit = Rule.parse(0, keep)
        settings = replace(settings, keep=limit.keep, keep_share=limit.keep_share)
    return settings if min_count is None else replace(settings, min_count=min_count)


def summary(codebook: Codebook) -> dict[str, Any]:
    """Size and metadata of one codebook."""
    return {
        "codebook_size": len(codebook),
        "codebook_dim": codebook.embeddings.shape[1],
        "facts": codebook.metadata,
    }
