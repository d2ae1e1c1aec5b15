"""a shard's files ──► encoded images with their ids, or the reason why one cannot be read.

What is wrong with one file is a `Refused`, never the end of the run.
"""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import PurePosixPath
from typing import IO

import fsspec

from v2l.archives import CHUNK, HEAD, LARGEST_MEMBER, READ_SUFFIXES, decompressor, sample_key
from v2l.sources import in_part
from v2l.tokenization.places import InputFile
from v2l.tokenization.samples import Read, Refused, Sample, content_of, unchanged
from v2l.tokenization.tables import read_dataset, read_parquet

CAPTION_SUFFIXES = (".txt", ".caption")
GROUP, GROUP_BYTES = 32, 1 << 26  # members of one sample, and their bytes, that wait for its caption


def read_files(files: Sequence[InputFile], start: int, stop: int) -> Read:
    """The images of a shard, in order.

    Args:
        files: images; or one archive, Parquet file or data set.
        start: the first row group or row of that file.
        stop: the one after the last.
    """
    if files[0].kind == "image":
        for file in files:
            yield Sample(file.name, partial(content_of, file.url), file.caption)
        return
    file = files[0]
    readers: dict[str, Callable[[], Read]] = {
        "tar": lambda: _read_tar(file),
        "zip": lambda: _read_zip(file),
        "parquet": lambda: read_parquet(file, start, stop),
        "dataset": lambda: read_dataset(file, start, stop),
    }
    for found in readers[file.kind]():
        if isinstance(found, Refused) or in_part(PurePosixPath(found.id).name, file.part):
            yield found


def _read_tar(file: InputFile) -> Read:
    """The members of a tar in order; the caption of a picture is the .txt beside it, as in WebDataset."""
    last = file.name
    try:
        with _open_plain(file.url) as plain, tarfile.open(fileobj=plain, mode="r:") as tar:
            group: dict[str, bytes] = {}
            for member in tar:
                if not member.isreg() or member.size > LARGEST_MEMBER:
                    continue
                last = f"{file.name}/{member.name}"
                held, group = _kept(group, member.name)
                yield from _grouped(file, held)
                if member.name.lower().endswith((*READ_SUFFIXES, *CAPTION_SUFFIXES)):
                    group[member.name] = _whole(tar.extractfile(member), member.size)
            yield from _grouped(file, group)
            _check_end(plain, tar.offset)
    except FileNotFoundError:
        yield Refused(file.name, "missing", f"there is no file {file.name}")
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        yield Refused(last, "truncated archive", f"{file.name} ends early or is damaged ({error})")


@contextmanager
def _open_plain(url: str) -> Iterator[IO[bytes]]:
    """A tar's own bytes: decompressed when it begins as a compressed file does, all streams of it."""
    with fsspec.open(url, "rb") as file:
        opener = decompressor(file.read(HEAD))
    with fsspec.open(url, "rb") as file:
        if opener is None:
            yield file
            return
        with opener(file) as plain:
            yield plain


def _whole(member: IO[bytes] | None, size: int) -> bytes:
    content = member.read() if member is not None else b""
    if len(content) != size:
        raise tarfile.ReadError("unexpected end of data")
    return content


def _check_end(plain: IO[bytes], offset: int) -> None:
    """Refuse bytes behind the last member, because tarfile takes a damaged header for the end.

    The rest is read, too, because the checksum of a compressed file is its last part.
    """
    plain.seek(offset)
    if plain.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"no header at byte {offset:,}")
    while plain.read(CHUNK):
        pass


def _kept(group: dict[str, bytes], coming: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Members of one sample ──► those that wait no longer when another member comes, and those that do.

    Frames such as frame.0001.jpg have one key for the whole archive. So a large group keeps only the members
    whose names differ from the coming one in the suffix alone.
    """
    if group and sample_key(next(iter(group))) != sample_key(coming):
        return group, {}
    if len(group) < GROUP and sum(map(len, group.values())) < GROUP_BYTES:
        return {}, group
    near = {name: content for name, content in group.items() if _stem(name) == _stem(coming)}
    return {name: content for name, content in group.items() if name not in near}, near


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _grouped(file: InputFile, group: dict[str, bytes]) -> Iterator[Sample]:
    """The pictures of a sample with its caption: that of the same name, else the first one."""
    captions = {
        name: content.decode(errors="replace").strip()
        for name, content in group.items()
        if name.lower().endswith(CAPTION_SUFFIXES)
    }
    own = {_stem(name): caption for name, caption in reversed(captions.items())}
    first = next(iter(captions.values()), None)
    for name, content in group.items():
        if name.lower().endswith(READ_SUFFIXES):
            yield Sample(f"{file.name}/{name}", partial(unchanged, content), own.get(_stem(name), first))


def _read_zip(file: InputFile) -> Read:
    try:
        with fsspec.open(file.url, "rb") as packed, zipfile.ZipFile(packed) as archive:
            for member in archive.infolist():
                if member.filename.lower().endswith(READ_SUFFIXES) and member.file_size <= LARGEST_MEMBER:
                    yield _zip_member(file, archive, member)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        yield Refused(file.name, "truncated archive", f"{file.name} ends early or is damaged ({error})")


def _zip_member(file: InputFile, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Sample | Refused:
    name = f"{file.name}/{member.filename}"
    try:
        return Sample(name, partial(unchanged, archive.read(member)))
    # damaged, cut short, packed by a method that Python lacks, or with a password (RuntimeError)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        return Refused(name, "unreadable", f"{name} cannot be unpacked ({error})")
