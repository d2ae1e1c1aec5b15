"""a directory ⇄ the codebooks in it; arguments and output that the commands about codebooks share.

A build or a checkpoint holds several codebooks. Another directory is one codebook.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from v2l.cli.output import output
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
    """The codebooks of a build or a checkpoint by name, or the one codebook of the directory.

    Raises:
        V2LError: there is none, or it is damaged.
    """
    from v2l.codebook.codebook import Codebook

    names = [name for name in PARTS if (directory / name).is_dir()]
    if names:
        return {name: Codebook.load(directory / name) for name in names}
    return {directory.resolve().name: Codebook.load(directory)}


def one_codebook(directory: Path) -> Codebook:
    """The codebook of a directory; the global one of a build.

    Raises:
        V2LError: there is none, or it is damaged.
    """
    from v2l.codebook.codebook import Codebook

    return Codebook.load(directory / "global" if (directory / "global").is_dir() else directory)


def refuse_existing(target: Path) -> None:
    """Check that nothing would be overwritten.

    Raises:
        V2LError: `target` is a file or a folder with files.
    """
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise V2LError(f"{target} is there already", "a new directory", "another -o")


def encoder_of(codebook: Codebook, device: str) -> JointEncoder:
    """The joint encoder that embedded a codebook.

    Raises:
        V2LError: it is not on this machine, or its weights have changed.
    """
    from v2l.encoders import load_encoder

    encoder = load_encoder(codebook.source.encoder, device)
    codebook.require_encoder(encoder)
    return encoder


def write_codebook(make: Callable[[], Codebook], target: Path, json: bool) -> None:
    """Make a codebook, save it to a new directory and print its size.

    Args:
        make: returns the codebook; it is called after `target` is checked.
        target: the directory to write.
        json: print JSON instead of text.

    Raises:
        V2LError: `target` is there already, or the codebook cannot be made.
    """
    from v2l.cli.codebook.build import summary

    with output(json) as out:
        refuse_existing(target)
        codebook = make()
        codebook.save(target)
        source = codebook.source
        record = {"output": str(target), "stack": vars(source), **summary(codebook)}
        text = f"{target}: {len(codebook):,} words of {source.llm}, embedded by {source.encoder}"
        out.result(record, text)
