"""a folder on this machine or in a bucket ⇄ its files, each of them there whole or not at all.

Local files are written under a temporary name, flushed and renamed. In a bucket an object appears when its
(multipart) upload is complete.
"""

from __future__ import annotations

import fcntl
import glob
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
FOLDERS = (".", "receipts", "errors")  # what a run writes into


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
        folder = root.rstrip("/")
        paths = file_system.glob(f"{glob.escape(folder)}/{pattern}")
        return sorted(str(path)[len(folder) + 1 :] for path in paths)

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
        """Keep a second run out of a local folder.

        A bucket has no locks. Two runs there do the same work twice and write the same bytes.

        Raises:
            V2LError: another run writes into the folder, or its disk has no locks.
        """
        if not self.is_local:
            yield
            return
        folder = Path(self._opened[1])
        with report_disk(self.url):
            folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _take(lock, self.url)
            yield
        finally:
            os.close(lock)

    @contextmanager
    def swept(self) -> Iterator[None]:
        """Delete the half-written files of dead runs, and at the end those of workers that were stopped."""
        self._sweep()
        try:
            yield
        finally:
            self._sweep()

    def _sweep(self) -> None:
        folders = [Path(self.path(name)) for name in FOLDERS] if self.is_local else []
        for folder in folders:
            for path in list(folder.glob(TEMPORARY)):
                if path.is_file():
                    path.unlink(missing_ok=True)


def _take(lock: int, url: str) -> None:
    """Lock an open file.

    Raises:
        V2LError: another run has the lock, or the disk has no locks.
    """
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise V2LError(
            f"another run writes into {url}", "one run for each folder", "wait for it, or another -o"
        ) from error
    except OSError as error:
        raise V2LError(
            f"cannot lock {url} ({error.strerror})", "a folder on a disk with locks", "another -o"
        ) from error


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
