"""bytes ──► disk, whole or not at all.

What is written goes to a temporary name beside its target, is flushed to the disk, and is renamed. A full
disk, Ctrl-C or a crash leaves the old file as it was and no half-written one.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from v2l.errors import V2LError


@contextmanager
def write_file(target: str | Path) -> Iterator[Path]:
    """A temporary path beside `target`: it becomes `target` when the block ends well, else it disappears.

    Folders on the way are made. The temporary path keeps the suffix, by which writers choose a format.

    Raises:
        V2LError: the disk is full, the place cannot be written, or `target` is a folder or a device.
    """
    final = Path(target).resolve()  # a link stays a link: its file is replaced
    with report_disk(target):
        if final.exists() and not final.is_file():
            raise V2LError(f"{target} is not an ordinary file", "the path of a file, new or to be replaced")
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_beside(final)
        try:
            yield temporary
            flush(temporary)
            temporary.chmod(
                0o666 & ~umask()
            )  # some writers, such as safetensors, leave a file that only its owner may read
            temporary.replace(final)
            flush(final.parent)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(target: str | Path, text: str) -> None:
    """Write text as UTF-8. Bytes of file names that are no UTF-8 become escapes, as JSON has them, too.

    Raises:
        V2LError: as `write_file`.
    """
    with write_file(target) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def temporary_beside(path: Path) -> Path:
    """A hidden name that nothing has yet, in the same folder and with the same suffix."""
    return path.with_name(f".v2l-{secrets.token_hex(8)}{path.suffix}")


def umask() -> int:
    """The permissions that this process takes from its new files; only setting them returns the old ones."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def flush(path: Path) -> None:
    """Put a file's bytes, or a folder's names, on the disk itself."""
    if path.is_dir() and os.name != "posix":  # elsewhere a folder cannot be opened
        return
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def require_space(target: str | Path, needed: int) -> None:
    """Refuse early when the disk that will hold `target` has less than `needed` bytes free.

    Raises:
        V2LError: not enough room, with both figures.
    """
    folder = next(parent for parent in Path(target).resolve().parents if parent.exists())
    free = shutil.disk_usage(folder).free
    if free < needed:
        both = f"it needs {needed / 1e6:,.0f} MB and the disk has {free / 1e6:,.0f} MB free"
        raise V2LError(
            f"not enough room for {target}: {both}",
            "a disk with room",
            f"free some space in {folder}, or choose another place",
        )


@contextmanager
def report_disk(target: str | Path) -> Iterator[None]:
    """Turn what the operating system says of writing `target` into one line.

    Raises:
        V2LError: for every OSError of the block.
    """
    try:
        yield
    except OSError as error:
        raise V2LError(
            f"could not write {target}: {error.strerror or error}; what was there before is untouched",
            "a place that can be written, on a disk with room",
        ) from error
