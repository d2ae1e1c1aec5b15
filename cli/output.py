"""results ──► standard output: JSON for programs, text for people.

With `--json` standard output carries only JSON. All else (text, progress, packages) goes to standard error.
"""

from __future__ import annotations

import contextlib
import json
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO


@dataclass(frozen=True)
class Output:
    """Where one command writes.

    Attributes:
        as_json: True when a program reads standard output.
        stdout: the real standard output; while a command runs, `print` goes to standard error.
    """

    as_json: bool
    stdout: TextIO

    def result(self, record: Mapping[str, Any], text: str) -> None:
        """Print one result: `record` as one line of JSON, or `text` for people."""
        line = json.dumps(record, allow_nan=False) if self.as_json else text
        print(line, file=self.stdout, flush=True)

    def result_with_note(self, record: Mapping[str, Any], text: str, note: str | None) -> None:
        """Print one result with the key `note`; for people a note is an indented line below the text."""
        self.result({**record, "note": note}, text if note is None else f"{text}\n  {note}")

    def note(self, text: str) -> None:
        """Print a remark beside the result, always on standard error."""
        print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def output(as_json: bool) -> Iterator[Output]:
    """The output of a command; everything else that is printed goes to standard error."""
    stdout = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        yield Output(as_json, stdout)


def show_left_out(strict: bool) -> None:
    """Print what is left out of archives as a line on standard error; with `strict` it is an error."""
    from v2l.archives import LeftOutWarning

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"v2l: {message}", file=sys.stderr, flush=True)

    warnings.filterwarnings("error" if strict else "always", category=LeftOutWarning)
    warnings.showwarning = show
