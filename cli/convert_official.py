"""v2l convert-official: files of the official release ──► a tokenizer directory, or a report only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.cli.options import Json, Options, options
from v2l.cli.output import output
from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.encoders import JointEncoder
    from v2l.official.conversion import Report

Weights = Annotated[
    Path, typer.Option("--checkpoint", help="The released weights, v2l-decode.pth.", metavar="FILE")
]
Tables = Annotated[
    Path,
    typer.Option(
        "--codebooks",
        help="Folder with global_vocabulary.npy and both *_codebook_embedding.pth.",
        metavar="DIR",
    ),
]
Llama = Annotated[
    str,
    typer.Option(
        "--llm",
        help="LLaMA-2 as a folder in Hugging Face's format or a hub name; only its tokenizer is read.",
    ),
]
Clip = Annotated[
    str,
    typer.Option(
        "--encoder", help="The joint encoder; its image half is compared with the one in the checkpoint."
    ),
]
Target = Annotated[Path, typer.Option("--output", "-o", help="Directory to write.", metavar="DIR")]
Check = Annotated[
    bool,
    typer.Option(
        "--check", help="Only report what is missing, unexpected or of another shape; write nothing."
    ),
]


def convert_official(
    ctx: typer.Context,
    checkpoint: Weights,
    codebooks: Tables,
    llm: Llama = "meta-llama/Llama-2-7b-hf",
    encoder: Clip = "openclip:ViT-L-14/openai",
    target: Target = Path("checkpoints/official"),
    check: Check = False,
    json: Json = False,
) -> None:
    """Convert the official checkpoint and codebooks to a directory for --checkpoint of every command."""
    from v2l.encoders import load_encoder
    from v2l.llm.loading import load_vocabulary
    from v2l.official.conversion import convert, examine
    from v2l.official.files import OfficialFiles

    given = options(ctx)
    with output(json) as out:
        files = OfficialFiles.read(checkpoint, codebooks)
        tokens = load_vocabulary(llm)
        if check:
            report = examine(files, tokens, encoder_if_here(encoder, given))
        else:
            joint = load_encoder(encoder, given.device)
            report = examine(files, tokens, joint)
            convert(report, tokens, joint, target)
        record = {
            **report.to_dict(),
            "output": None if check else str(target),
            "llm": tokens.name,
            "llm_fingerprint": tokens.fingerprint,
        }
        out.result(record, page(report, None if check else target))
    if report.problems:
        raise typer.Exit(1)


def encoder_if_here(name: str, given: Options) -> JointEncoder | None:
    """The joint encoder; None when it is not available, because a report is possible without it."""
    from v2l.encoders import load_encoder

    try:
        return load_encoder(name, given.device)
    except V2LError:
        return None


def page(report: Report, target: Path | None) -> str:
    """The report as text."""
    sizes = report.config.model
    levels = ", ".join(map(str, sizes.level_channels))
    lines = [
        f"{report.files.checkpoint}: layout {report.files.layout}, levels {levels}, "
        f"{sizes.res_blocks} blocks a level, lookup in {sizes.lookup_dim} dimensions",
        *(
            f"  {part.prefix + '.':24} {part.wanted - len(part.missing):>4} of {part.wanted}"
            for part in report.parts
        ),
        *(f"  {name} codebook: {figures(facts)}" for name, facts in report.codebooks.items()),
        *(f"  note: {note}" for note in report.notes),
        *(f"  problem: {problem}" for part in report.parts for problem in every_name(part.to_dict())),
        *(f"  problem: {problem}" for problem in report.disagreements),
    ]
    end = (
        f"written to {target}; try: v2l words IMAGE --checkpoint {target}"
        if target
        else "nothing was written"
    )
    verdict = f"{len(report.problems)} problem(s)" if report.problems else "all fits"
    return "\n".join([*lines, f"{verdict}; {end}"])


def figures(facts: Mapping[str, Any]) -> str:
    """The figures of a codebook in one line."""
    return ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}" for name, value in facts.items()
    )


def every_name(part: Mapping[str, Any]) -> list[str]:
    """One line for each tensor that does not fit."""
    kinds = ("missing", "unexpected", "misshapen", "not_finite")
    return [f"{kind.replace('_', ' ')}: {name}" for kind in kinds for name in part[kind]]
