"""archives (tar, compressed tar, zip) ──► members that are image files, each read where it lies.

No member is ever written under its own name: a plain tar and a zip are read in place; a compressed tar is
decompressed once for each process, as a whole, into a temporary file.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import importlib
import lzma
import os
import shutil
import stat
import struct
import sys
import tarfile
import tempfile
import threading
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path, PurePosixPath
from typing import IO, Any

from v2l.errors import V2LError

READ_SUFFIXES = (
    ".jpg",
    ".jpeg",
    ".jfif",
    ".png",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pnm",
    ".mpo",
    ".avif",
)
TAR_SUFFIXES = (
    ".tar",
    ".tar.gz",
    ".tgz",
    ".tar.bz2",
    ".tbz2",
    ".tar.xz",
    ".txz",
    ".tar.zst",
    ".tzst",
)
ZSTD_SUFFIXES = (".tar.zst", ".tzst")
UNREAD_SUFFIXES = (".7z", ".rar", ".tar.lz4", ".tar.lz", ".tar.z")
ARCHIVE_SUFFIXES = (*TAR_SUFFIXES, ".zip")
HAS_ZSTD = sys.version_info >= (3, 14)  # the first version of Python that reads it
LARGEST_MEMBER = 1 << 30  # bytes; more is no picture that v2l could decode
HEAD = 10  # first bytes, which differ for each kind of compression
CHUNK = 1 << 24  # bytes that are decompressed at once
RESERVE = 1 << 30  # bytes that decompressing leaves free on the disk
NO_PICTURE = "no picture"
ONE_COPY = threading.Lock()  # threads that need the same copy wait for it
NAMED = 3  # members named in the line of those that were left out


class LeftOutWarning(V2LError, UserWarning):  # noqa: N818
    """Members of archives that are not read: how many, why, and the first names."""


@dataclass(frozen=True, order=True)
class ArchiveMember:
    """An image inside an archive.

    Attributes:
        archive: the archive.
        member: its whole name in the archive.
        offset: where its bytes begin.
        size: the number of its bytes when it is unpacked.
    """

    archive: Path
    member: str
    offset: int
    size: int

    @property
    def name(self) -> str:
        """The last part of its name, as a path has it."""
        return PurePosixPath(self.member).name

    @property
    def parent(self) -> Path:
        """The folder that it would lie in if the archive were a folder."""
        return self.archive.joinpath(PurePosixPath(self.member).parent)

    def __str__(self) -> str:
        return f"{self.archive}/{self.member}"


@dataclass(frozen=True, order=True)
class TarMember(ArchiveMember):
    """An image inside a tar archive.

    Attributes:
        data: the decompressed copy that `offset` counts in; None when the archive itself is not compressed.
            Each process has a copy of its own, so `repr`, by which results are kept, leaves it out.
    """

    data: Path | None = field(default=None, compare=False, repr=False)

    def read(self) -> bytes:
        """Its bytes; fewer when the archive has become shorter.

        Raises:
            V2LError: the copy belongs to another machine, and the disk has too little room for one here.
        """
        with self._plain().open("rb") as archive:
            archive.seek(self.offset)
            return archive.read(self.size)

    def _plain(self) -> Path:
        """The file that `offset` counts in; the archive is decompressed again where the copy is not."""
        if self.data is None:
            return self.archive
        return self.data if self.data.exists() else _decompressed(self.archive) or self.archive


@dataclass(frozen=True, order=True)
class ZipMember(ArchiveMember):
    """An image inside a zip archive.

    Attributes:
        packed: the number of its bytes in the archive.
        deflated: True when they are compressed by deflate; False when they are stored.
        crc: their checksum when they are unpacked.
    """

    packed: int
    deflated: bool
    crc: int

    def read(self) -> bytes:
        """Its bytes; none when they do not have their checksum.

        Raises:
            zlib.error: they cannot be unpacked.
        """
        with self.archive.open("rb") as archive:
            archive.seek(self.offset)
            content = archive.read(self.packed)
        if self.deflated:
            # Never more than the archive says: a small file may unpack to very much.
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, self.size + 1)
        return content if zlib.crc32(content) == self.crc else b""


@dataclass
class LeftOut:
    """The members of archives that are not read, by the reason."""

    names: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str, name: str) -> None:
        """Count one member; the first few are named."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        named = self.names.setdefault(reason, [])
        if len(named) < NAMED:
            named.append(name)

    def add_unpaired(self, archive: Path, others: Iterable[str], pictures: Iterable[str]) -> None:
        """Count the members that are no picture and belong to none: labels of a picture are not left out.

        Args:
            archive: the archive.
            others: names of members that are no picture.
            pictures: names of the members that are read.
        """
        keys = {sample_key(name) for name in pictures}
        for name in others:
            if sample_key(name) not in keys:
                self.add(NO_PICTURE, f"{archive.name}/{name}")

    def warn(self) -> None:
        """Say in one line what was left out, as a `LeftOutWarning`; nothing when there was nothing."""
        if not self.counts:
            return
        parts = [
            f"{count:,} {reason} ({', '.join(self.names[reason])}{', …' if count > NAMED else ''})"
            for reason, count in self.counts.items()
        ]
        total = sum(self.counts.values())
        line = f"{total:,} member(s) of archives left out: {'; '.join(parts)}"
        warnings.warn(LeftOutWarning(line), stacklevel=3)


def sample_key(name: str) -> str:
    """What the picture and the labels of one sample share, as WebDataset has it: the name up to the first dot
    after the last slash.
    """
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def is_archive(path: Path) -> bool:
    """True for a name that ends as an archive does, also of a kind that is not read."""
    return path.name.lower().endswith((*ARCHIVE_SUFFIXES, *UNREAD_SUFFIXES))


def can_read(archive: Path) -> bool:
    """True for a kind of archive that this Python reads."""
    name = archive.name.lower()
    return name.endswith(ARCHIVE_SUFFIXES) and (HAS_ZSTD or not name.endswith(ZSTD_SUFFIXES))


def unpack_command(archive: Path) -> str:
    """The command that unpacks an archive into a folder beside it."""
    name = archive.name.lower()
    suffix = next(suffix for suffix in (*ARCHIVE_SUFFIXES, *UNREAD_SUFFIXES) if name.endswith(suffix))
    folder = archive.with_name(archive.name[: -len(suffix)])
    if suffix == ".zip":
        return f"unzip {archive} -d {folder}"
    if suffix in TAR_SUFFIXES:
        return f"mkdir {folder} && tar -xf {archive} -C {folder}"
    return f"unpack it to {folder}"


def check_kind(archive: Path) -> None:
    """Refuse an archive of a kind that is not read.

    Raises:
        V2LError: with the command that makes one that is read.
    """
    if can_read(archive):
        return
    packed_tar = archive.name.lower().endswith(ZSTD_SUFFIXES)
    raise V2LError(
        f"{archive} is an archive of a kind that v2l does not read",
        ", ".join((*(suffix for suffix in TAR_SUFFIXES if suffix not in ZSTD_SUFFIXES), ".zip")),
        f"zstd -d {archive} -o images.tar" if packed_tar else "unpack it, and give the folder",
    )


def read_tar(archive: Path, left_out: LeftOut) -> Iterator[TarMember]:
    """The images of a tar archive, in its order; every header is read, no image is.

    Raises:
        V2LError: the archive is truncated, or no tar archive.
    """
    pictures: list[str] = []
    others: list[str] = []
    try:
        data = _decompressed(archive)
        with tarfile.open(data or archive, "r:") as tar:
            for member in tar:
                if member.isdir():
                    continue
                reason = _tar_reason(member)
                if reason is None:
                    pictures.append(member.name)
                    yield TarMember(archive, member.name, member.offset_data, member.size, data)
                elif reason == NO_PICTURE:
                    others.append(member.name)
                else:
                    left_out.add(reason, f"{archive.name}/{member.name}")
            _check_end(tar)
        left_out.add_unpaired(archive, others, pictures)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the disk; what bz2 and gzip raise for damaged bytes has no number
        got = f"{archive} is damaged, or no tar archive ({error})"
        raise V2LError(got, "a whole .tar, plain or compressed", f"tar -tf {archive}") from error


def _check_end(tar: tarfile.TarFile) -> None:
    """Refuse an archive with bytes behind its last member, because tarfile takes a bad header for the end."""
    file: Any = tar.fileobj
    file.seek(tar.offset)
    if file.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"no header at byte {tar.offset:,}")


def _tar_reason(member: tarfile.TarInfo) -> str | None:
    """Why a member is left out; None when it is an image."""
    if member.issym() or member.islnk():
        return "link(s)"
    if not member.isreg():
        return "device(s)"
    if member.issparse():
        return "sparse file(s)"
    return _reason(member.name, member.size)


def _reason(name: str, size: int) -> str | None:
    """Why a file of this name and size is left out; None when it is an image."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or (path.parts[:1] and path.parts[0].endswith(":")):
        return "with a name that leads outside the archive"
    if any(part.startswith(".") for part in path.parts):
        return "hidden"
    if path.suffix.lower() not in READ_SUFFIXES:
        return NO_PICTURE
    return "larger than 1 GB" if size > LARGEST_MEMBER else None


def read_zip(archive: Path, left_out: LeftOut) -> Iterator[ZipMember]:
    """The images of a zip archive, in its order; its directory and the header of each image are read.

    Raises:
        V2LError: the archive is damaged, or no zip archive.
    """
    pictures: list[str] = []
    others: list[str] = []
    try:
        with zipfile.ZipFile(archive) as packed, archive.open("rb") as file:
            for member in packed.infolist():
                if member.is_dir():
                    continue
                reason = _zip_reason(member)
                if reason == NO_PICTURE:
                    others.append(member.filename)
                elif reason is not None:
                    left_out.add(reason, f"{archive.name}/{member.filename}")
                else:
                    pictures.append(member.filename)
                    yield ZipMember(
                        archive,
                        member.filename,
                        _data_offset(file, member.header_offset),
                        member.file_size,
                        member.compress_size,
                        member.compress_type == zipfile.ZIP_DEFLATED,
                        member.CRC,
                    )
        left_out.add_unpaired(archive, others, pictures)
    except (zipfile.BadZipFile, struct.error, NotImplementedError) as error:
        got = f"{archive} is damaged, or no zip archive ({error})"
        raise V2LError(got, "a whole .zip", f"unzip -t {archive}") from error


def _data_offset(file: IO[bytes], header: int) -> int:
    """Where the bytes of a member begin: behind its own header of 30 bytes, its name and its extra field."""
    file.seek(header)
    fields = struct.unpack("<4s22x2H", file.read(30))
    if fields[0] != b"PK\x03\x04":
        raise zipfile.BadZipFile(f"no header at byte {header:,}")
    return header + 30 + int(fields[1]) + int(fields[2])


def _zip_reason(member: zipfile.ZipInfo) -> str | None:
    """Why a member is left out; None when it is an image."""
    mode = member.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "link(s)"
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "device(s)"
    if reason := _reason(member.filename, member.file_size):
        return reason
    if member.flag_bits & 1:
        return "encrypted"
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "compressed by another method than deflate"
    return None


def _decompressed(archive: Path) -> Path | None:
    """A plain copy of a compressed tar, made once; None when the archive is not compressed."""
    with archive.open("rb") as file:
        opener = decompressor(file.read(HEAD))
    if opener is None:
        return None
    with ONE_COPY:
        return _copy(archive.resolve(), archive.stat().st_size, archive.stat().st_mtime_ns, opener)


def decompressor(head: bytes) -> Callable[[Any], Any] | None:
    """What opens a path or a file that begins with these `HEAD` bytes; None when it is not compressed."""
    if head.startswith(b"\x1f\x8b"):
        return gzip.open
    if head.startswith(b"BZh") and head[4:10] == b"1AY&SY":
        return bz2.open
    if head.startswith(b"\xfd7zXZ\0"):
        return lzma.open
    if head.startswith(b"\x28\xb5\x2f\xfd") and HAS_ZSTD:
        opener: Callable[[Any], Any] = importlib.import_module("compression.zstd").open
        return opener
    return None


@cache
def _scratch() -> tempfile.TemporaryDirectory[str]:
    """The folder of the decompressed copies; it disappears when the process ends."""
    return tempfile.TemporaryDirectory(prefix="v2l-archives-")


@cache
def _copy(archive: Path, size: int, written: int, opener: Callable[[Any], Any]) -> Path:
    """Decompress a whole tar once, so that its images can be read in any order.

    Args:
        archive: the archive.
        size: of the archive in bytes; it and `written` make a new copy when the archive is replaced.
        written: when the archive was written.
        opener: opens it.

    Raises:
        V2LError: the disk has too little room.
    """
    key = hashlib.sha256(f"{archive} {size} {written}".encode(errors="surrogateescape")).hexdigest()[:24]
    target = Path(_scratch().name) / f"{key}.tar"
    with opener(archive) as packed, target.open("wb") as plain:
        while content := packed.read(CHUNK):
            if shutil.disk_usage(target.parent).free < len(content) + RESERVE:
                target.unlink()
                got = f"{target.parent} has too little room to decompress {archive}"
                allowed, run = "1 GB more than the images take", "TMPDIR=/a/larger/disk v2l …"
                raise V2LError(got, allowed, run) from OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            plain.write(content)
    return target
