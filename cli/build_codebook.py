"""v2l build-codebook: the LLM's vocabulary + photographs ──► the local and the global codebook."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.options import Json, Llm, options
from v2l.cli.output import output
from v2l.cli.progress import progress

if TYPE_CHECKING:
    from v2l.codebook.codebook import Codebook

Images = Annotated[Path, typer.Option(help="Folder of photographs; words that none of them is near to are dropped.", metavar="FOLDER")]
Target = Annotated[Path, typer.Option("--output", "-o", help="Directory to write; an older codebook there is replaced when all is done.")]
Encoder = Annotated[str | None, typer.Option(help="Joint encoder: conse, openclip:MODEL/TAG or openclip:MODEL@FILE.")]
MinCount = Annotated[int | None, typer.Option(help="Photographs that must have a word among their five nearest.", min=0)]


def build_codebook(
    ctx: typer.Context,
    images: Images,
    target: Target = Path("codebooks"),
    encoder: Encoder = None,
    llm: Llm = None,
    min_count: MinCount = None,
    json: Json = False,
) -> None:
    """Build both codebooks from the LLM's vocabulary; a stopped build goes on where it was."""
    from v2l.codebook.build import CodebookBuilder
    from v2l.config import load_config
    from v2l.encoders import load_encoder
    from v2l.images import find_images
    from v2l.llm import load_llm
    from v2l.zoo import cache_home

    given = options(ctx)
    config = load_config(given.config or "small")
    settings = config.codebook if min_count is None else replace(config.codebook, min_count=min_count)
    with output(json) as out:
        photographs = find_images(images)
        joint = load_encoder(encoder or config.models.encoder, given.device)
        frozen = load_llm(llm or config.models.llm, given.device, given.dtype)
        with progress() as tell:
            builder = CodebookBuilder(joint, frozen, settings, cache_home() / "build", tell)
            local, filtered = builder.build(photographs, target)
        record = {"output": str(target), "stack": vars(local.source), "local": summary(local), "global": summary(filtered)}
        out.result(record, f"{target}: {len(local):,} local and {len(filtered):,} global words of {local.source.llm}")


def summary(codebook: Codebook) -> dict[str, Any]:
    """Size and facts of one codebook."""
    return {"codebook_size": len(codebook), "codebook_dim": codebook.embeddings.shape[1], "facts": codebook.facts}
