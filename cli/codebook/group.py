"""v2l codebook: the name of a command ──► the command; each has its own file."""

from __future__ import annotations

from collections.abc import Callable

import typer

from v2l.cli.codebook.export_words import codebook_export
from v2l.cli.codebook.filter_words import codebook_filter
from v2l.cli.codebook.from_words import codebook_from_words
from v2l.cli.codebook.import_words import codebook_import
from v2l.cli.codebook.merge import codebook_merge
from v2l.cli.codebook.show import codebook_show

COMMANDS: dict[str, Callable[..., None]] = {
    "show": codebook_show,
    "export": codebook_export,
    "import": codebook_import,
    "filter": codebook_filter,
    "merge": codebook_merge,
    "from-words": codebook_from_words,
}

codebook = typer.Typer(
    no_args_is_help=True, help="Look at codebooks, and make them from words, from tables and from each other."
)
for name, command in COMMANDS.items():
    codebook.command(name)(command)
