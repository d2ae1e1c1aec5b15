"""v2l tokenize: many images ──► shards of their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.options import EngineName, Json, Tokenizer, Workers, options
from v2l.cli.output import output
from v2l.cli.progress import progress

if TYPE_CHECKING:
    from v2l.tokenization.run import Request, Summary

Places = Annotated[
    list[str],
    typer.Argument(
        metavar="PLACE",
        help="Folders, lists (.csv, .jsonl, .txt), .tar, .zip or .parquet files, on this machine or on "
        "s3://, gs://, http://; or hf:NAME of Hugging Face datasets.",
    ),
]
Target = Annotated[str, typer.Option("--output", "-o", help="A new folder or bucket; an old one goes on.")]
Batch = Annotated[int, typer.Option(help="Decoded images that each worker keeps in memory.", min=1)]
ShardSize = Annotated[
    int | None, typer.Option("--shard", help="Images of one output file; 64 to 10,000 by default.", min=1)
]
Format = Annotated[str, typer.Option("--format", metavar="parquet|webdataset|jsonl", help="Of the output.")]
Vectors = Annotated[bool, typer.Option("--vectors", help="The vector of each image in the joint space, too.")]
Precision = Annotated[str, typer.Option(metavar="float32|bfloat16", help="Of the forward passes.")]
Compiled = Annotated[
    bool, typer.Option("--compile", help="Compile the networks first, for long runs on GPUs.")
]
Verify = Annotated[bool, typer.Option("--verify", help="Read the whole output again: counts, hashes, ids.")]


def tokenize(
    ctx: typer.Context,
    places: Places,
    target: Target,
    tokenizer: Tokenizer = None,
    engine: EngineName = "local",
    workers: Workers = None,
    batch: Batch = 32,
    shard: ShardSize = None,
    output_format: Format = "parquet",
    vectors: Vectors = False,
    precision: Precision = "float32",
    compiled: Compiled = False,
    verify: Verify = False,
    json: Json = False,
) -> None:
    """Turn very many images into files of their tokens; the same command goes on after a stop."""
    from v2l.tokenization.plan import Settings
    from v2l.tokenization.run import Request, forward_batch
    from v2l.tokenization.run import tokenize as run

    device = options(ctx).device
    settings = Settings(shard, output_format, vectors, precision, compiled, forward_batch(device))
    request = Request(places, target, tokenizer, engine, workers, batch, settings, device)
    with output(json) as out:
        with progress() as bars:
            summary = run(request, bars)
            checked = check(request, bars) if verify else {}
        out.result({**vars(summary), **checked, "output": target}, line(summary, target))


def check(request: Request, bars: Any) -> dict[str, Any]:
    """Verify the output; what is printed beside the summary. Damaged shards are made ready for repair."""
    from v2l.tokenization.verify import forget_damaged, require_whole, verify

    report = verify(request.output, bars)
    forget_damaged(report, request.output)
    require_whole(report, request.output)
    return {"verified": report.images, "duplicate_ids": report.duplicates}


def line(summary: Summary, target: str) -> str:
    """The summary for people."""
    from v2l.tokenization.verify import counts_line

    problems = f"; side table {target}/errors: {counts_line(summary.reasons)}" if summary.reasons else ""
    there = f" ({summary.resumed} were there)" if summary.resumed else ""
    return (
        f"{summary.images:,} images in {summary.shards:,} shard(s){there} in {target}, "
        f"sha256 {summary.sha256}{problems}"
    )
