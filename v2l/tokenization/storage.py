"""a folder on this machine or in a bucket ⇄ its files, each of them there whole or not at all.

Local files are written under a temporary name, flushed and renamed. In a bucket an object appears when its
(multipart) upload is complete.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from v2l.errors import V2LError
from v2l.files import report_disk, write_file

LOCK = ".lock"
TEMPORARY = ".v2l-*"  # names that `v2l.files.temporary_beside` gives


@dataclass(frozen=True)
class Storage:
    """One folder.

    Attributes:
        url: a local path, or an address that fsspec reads: s3://, gs://, memory://.
    """

    url: str

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        return open_place(self.url)

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a disk of this machine."""
        return isinstance(self._opened[0], LocalFileSystem)

    def path(self, name: str) -> str:
        """The path of a file in its file system."""
        return f"{self._opened[1].rstrip('/')}/{name}"

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(self._opened[0].exists(self.path(name)))

    def size(self, name: str) -> int:
        """The bytes of a file; -1 when there is none."""
        try:
            return int(self._opened[0].size(self.path(name)))
        except FileNotFoundError:
            return -1

    def names(self, pattern: str) -> list[str]:
        """The names of files that fit a pattern such as `part-*.parquet`, sorted."""
        file_system, root = self._opened
        start = len(root.rstrip("/")) + 1
        return sorted(str(path)[start:] for path in file_system.glob(self.path(pattern)))

    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading."""
        file: IO[bytes] = self._opened[0].open(self.path(name), "rb")
        return file

    def read(self, name: str) -> bytes:
        """The bytes of a small file."""
        with self.open(name) as file:
            return file.read()

    @contextmanager
    def write(self, name: str) -> Iterator[Path]:
        """A temporary local path, whose file becomes `name` when the block ends without an error.

        Raises:
            V2LError: the disk is full, or the folder or bucket cannot be written.
        """
        if self.is_local:
            with write_file(self.path(name)) as temporary:
                yield temporary
            return
        with report_disk(f"{self.url}/{name}"), tempfile.TemporaryDirectory(prefix="v2l-upload-") as folder:
            temporary = Path(folder) / Path(name).name
            yield temporary
            self._opened[0].put_file(str(temporary), self.path(name))

    def write_bytes(self, name: str, content: bytes) -> None:
        """Write a small file."""
        with self.write(name) as temporary:
            temporary.write_bytes(content)

    def delete(self, name: str) -> None:
        """Delete a file, if it is there."""
        if self.exists(name):
            self._opened[0].rm_file(self.path(name))

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second run out of a local folder, and delete the temporary files of dead runs.

        A bucket has no locks. Two runs there do the same work twice and write the same bytes.

        Raises:
            V2LError: another run writes into the folder.
        """
        if not self.is_local:
            yield
            return
        folder = Path(self._opened[1])
        with report_disk(self.url):
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(lock)
            raise V2LError(
                f"another run writes into {self.url}", "one run for each folder", "wait for it, or another -o"
            ) from error
        try:
            remove_temporary(folder)
            yield
        finally:
            remove_temporary(folder)  # of workers that were stopped or died
            os.close(lock)


def remove_temporary(folder: Path) -> None:
    """Delete the half-written files that processes left when they were killed."""
    for path in folder.rglob(TEMPORARY):
        path.unlink(missing_ok=True)


def open_place(place: str) -> tuple[Any, str]:
    """A place ──► fsspec's file system, and the path in it.

    Raises:
        V2LError: the protocol is unknown, or the package for it is not installed.
    """
    try:
        file_system, path = fsspec.core.url_to_fs(place)
    except (ValueError, ImportError) as error:
        protocol = place.partition("://")[0]
        packages = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "http": "aiohttp", "https": "aiohttp"}
        needed = packages.get(protocol)
        raise V2LError(
            f"cannot open {place} ({error})",
            "a local path, s3://, gs://, http://, or another protocol of fsspec",
            f"pip install {needed}" if needed else "v2l tokenize FOLDER -o OUT",
        ) from error
    return file_system, path
