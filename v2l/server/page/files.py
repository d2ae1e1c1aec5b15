"""files of the page's visitors ──► a private folder that is removed at the end, and names that hide it.

Gradio puts the path of a file into its address. The browser gets `SHOWN` in the place of the folder.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from atexit import register
from collections.abc import Collection
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

SHOWN = "/page-files"  # what the browser sees in the place of the folder
MOST_BYTES = 512 * 2**20  # of all files together; the oldest are deleted
LEAST_BYTES = 2**16  # that a file counts, so that many empty ones are too many


class NoFileError(Exception):
    """A path that is not of an uploaded file."""


@cache
def private_folder() -> Path:
    """A new folder of this process, which only its user can read; it is removed when the process ends.

    From then on gradio keeps its files there, too.
    """
    folder = Path(tempfile.mkdtemp(prefix="v2l-page-")).resolve()
    register(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    return folder


def real_file(shown: object, folder: Path) -> str:
    """The path of an uploaded file by the name that the browser knows.

    Raises:
        NoFileError: there is no such file in the folder.
    """
    if not isinstance(shown, str) or not shown.startswith(f"{SHOWN}/"):
        raise NoFileError
    try:
        file = (folder / shown.removeprefix(f"{SHOWN}/")).resolve()
        found = file.is_relative_to(folder) and file.is_file()
    except (OSError, ValueError):  # too long, or a null byte
        raise NoFileError from None
    if not found:
        raise NoFileError
    return str(file)


def with_real_files(value: Any, folder: Path) -> Any:
    """JSON from the browser, with real paths, and without addresses from which a file might be fetched.

    Raises:
        NoFileError: a path is not of an uploaded file.
    """
    if isinstance(value, list):
        return [with_real_files(one, folder) for one in value]
    if not isinstance(value, dict):
        return value
    made = {name: with_real_files(one, folder) for name, one in value.items() if name != "url"}
    if made.get("path") is not None:
        made["path"] = real_file(made["path"], folder)
    return made


def hide_folder(content: bytes, folder: Path) -> bytes:
    """What the server says, with `SHOWN` in the place of the folder, however it is written."""
    for written in (str(folder), json.dumps(str(folder))[1:-1], quote(str(folder))):
        content = content.replace(written.encode(), SHOWN.encode())
    return content


def make_room(folder: Path, kept: Collection[Path], limit: int = MOST_BYTES) -> None:
    """Delete the oldest files until all together have `limit` bytes at most.

    Args:
        folder: of the files.
        kept: files that are never deleted.
        limit: in bytes; each file counts at least `LEAST_BYTES`.
    """
    found = []
    for file in folder.rglob("*"):
        with suppress(OSError):  # another request deleted it
            if file not in kept and file.is_file():
                found.append((file.stat().st_mtime, max(LEAST_BYTES, file.stat().st_size), file))
    total = sum(size for _, size, _ in found)
    for _, size, file in sorted(found):
        if total <= limit:
            return
        total -= size
        with suppress(OSError):
            file.unlink()
            file.parent.rmdir()  # each upload has a folder of its own
