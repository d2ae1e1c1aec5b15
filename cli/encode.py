"""v2l encode: a photograph ──► a small file of its tokens; v2l decode: the file ──► the photograph."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from v2l.cli.options import Json, Photograph, Scale, Tokenizer, options
from v2l.cli.output import output
from v2l.errors import V2LError

SUFFIX = ".v2l"
Target = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Token file to write; IMAGE.v2l by default.", metavar="FILE.v2l"),
]
Picture = Annotated[
    Path,
    typer.Option("--output", "-o", help="Where to write the picture; the suffix chooses the format."),
]
TokensPath = Annotated[Path, typer.Argument(metavar="FILE.v2l", help="What v2l encode wrote.")]


def encode(
    ctx: typer.Context,
    image: Photograph,
    target: Target = None,
    scale: Scale = None,
    tokenizer: Tokenizer = None,
    json: Json = False,
) -> None:
    """Write a photograph's tokens as a small file, from which v2l decode computes the photograph again."""
    from v2l.images import load_image
    from v2l.pipeline.reconstruction import encode_photograph
    from v2l.tokenizers.loading import load_tokenizer

    with output(json) as out:
        place = image.with_suffix(SUFFIX) if target is None else target
        if place.suffix.lower() != SUFFIX:
            raise V2LError(f"cannot write tokens to {place}", f"a name that ends in {SUFFIX}", "-o photo.v2l")
        photograph = load_image(image)
        model = load_tokenizer(tokenizer, options(ctx).device)
        file = encode_photograph(model, photograph, scale)
        size = file.write(place)
        tokens, (height, width) = sum(stream.rows.numel() for stream in file.streams), file.size
        record = {
            "image": str(image),
            "output": str(place),
            "bytes": size,
            "bits_per_pixel": 8 * size / (height * width),
            "tokens": tokens,
            "grids": [list(stream.rows.shape) for stream in file.streams],
            "size": [height, width],
            "scale": file.scale,
            "fingerprint": file.fingerprint,
            "stack": model.describe(),
        }
        line = (
            f"{image}: {width} × {height} pixels, {tokens:,} tokens at the {file.scale} scale, "
            f"{size:,} bytes ({record['bits_per_pixel']:.3f} bits a pixel) written to {place}"
        )
        out.result(record, line)


def decode(
    ctx: typer.Context,
    tokens: TokensPath,
    target: Picture = Path("decoded.png"),
    tokenizer: Tokenizer = None,
    json: Json = False,
) -> None:
    """Compute the photograph from a token file, at its own size."""
    from v2l.images import check_suffix, save_image
    from v2l.pipeline.reconstruction import decode_photograph
    from v2l.token_file import TokenFile
    from v2l.tokenizers.loading import load_tokenizer

    with output(json) as out:
        check_suffix(target)
        file = TokenFile.read(tokens)
        model = load_tokenizer(tokenizer or file.tokenizer, options(ctx).device)
        save_image(decode_photograph(model, file), target)
        height, width = file.size
        record = {
            "tokens": str(tokens),
            "output": str(target),
            "size": [height, width],
            "scale": file.scale,
            "fingerprint": file.fingerprint,
            "stack": model.describe(),
        }
        out.result(
            record, f"{tokens}: {width} × {height} pixels, decoded by {model.NAME}, written to {target}"
        )
