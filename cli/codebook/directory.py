"""a directory ──► the codebooks in it: of a build both, else the one that it is; arguments that the verbs about codebooks share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from v2l.errors import V2LError

if TYPE_CHECKING:
    from v2l.codebook.codebook import Codebook
    from v2l.encoders import JointEncoder

PARTS = ("local", "global", "candidates")

Directory = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="A codebook, or a build or checkpoint: then its global codebook."),
]
Target = Annotated[
    Path, typer.Option("--output", "-o", help="Codebook to write: a directory that is new.", metavar="DIR")
]


def codebooks_in(directory: Path) -> dict[str, Codebook]:
    """The codebooks of a build or a checkpoint by their names, or the one that the directory is.

    Raises:
        V2LError: there is none, or it is damaged.
    """
    from v2l.codebook.codebook import Codebook

    names = [name for name in PARTS if (directory / name).is_dir()]
    if names:
        return {name: Codebook.load(directory / name) for name in names}
    return {directory.resolve().name: Codebook.load(directory)}


def one_codebook(directory: Path) -> Codebook:
    """The codebook of a directory; of a build the global one.

    Raises:
        V2LError: there is none, or it is damaged.
    """
    from v2l.codebook.codebook import Codebook

    return Codebook.load(directory / "global" if (directory / "global").is_dir() else directory)


def refuse_existing(target: Path) -> None:
    """Nothing is overwritten: a codebook is written to a new place.

    Raises:
        V2LError: there is something.
    """
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise V2LError(f"{target} is there already", "a new directory", "another -o")


def encoder_of(codebook: Codebook, device: str) -> JointEncoder:
    """The joint encoder that embedded a codebook.

    Raises:
        V2LError: it is not on this machine, or is another one by now.
    """
    from v2l.encoders import load_encoder

    encoder = load_encoder(codebook.source.encoder, device)
    codebook.require_encoder(encoder)
    return encoder


def written(codebook: Codebook, target: Path) -> tuple[dict[str, Any], str]:
    """What a verb prints when it has written a codebook: for programs, and for people."""
    from v2l.cli.codebook.build import summary

    record = {"output": str(target), "stack": vars(codebook.source), **summary(codebook)}
    return (
        record,
        f"{target}: {len(codebook):,} words of {codebook.source.llm}, embedded by {codebook.source.encoder}",
    )
