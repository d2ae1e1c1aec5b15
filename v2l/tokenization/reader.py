"""a shard's files ──► encoded images with their ids, or the reason why one cannot be read.

What is wrong with one file is a `Refused`, never the end of the run.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import IO, Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from v2l.archives import LARGEST_MEMBER, READ_SUFFIXES, sample_key
from v2l.errors import V2LError
from v2l.sources import in_part
from v2l.tokenization.places import InputFile

CAPTION_SUFFIXES = (".txt", ".caption")
IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes", "content")
ID_COLUMNS = ("id", "__key__", "key", "image_id")
CAPTION_COLUMNS = ("caption", "text", "txt")
ROWS = 32  # rows of a Parquet file in memory at once


@dataclass(frozen=True)
class Sample:
    """One image that can be tried.

    Attributes:
        id: its name in the output.
        load: gives its bytes; called in another thread.
        caption: a text that belongs to it.
    """

    id: str
    load: Callable[[], bytes]
    caption: str | None = None


@dataclass(frozen=True)
class Refused:
    """One image, or one file of images, that cannot be read.

    Attributes:
        id: its name.
        reason: one of a few words that can be counted: missing, unreadable, truncated archive, wrong column,
            duplicate id, not tokenized.
        detail: the whole line.
    """

    id: str
    reason: str
    detail: str


Read = Iterator[Sample | Refused]


def read_files(files: Sequence[InputFile], start: int, stop: int) -> Read:
    """The images of a shard, in order.

    Args:
        files: images; or one archive, Parquet file or data set.
        start: the first row group or row of that file.
        stop: the one after the last.
    """
    if files[0].kind == "image":
        for file in files:
            yield Sample(file.name, partial(_content, file.url), file.caption)
        return
    file = files[0]
    readers: dict[str, Callable[[], Read]] = {
        "tar": lambda: _read_tar(file),
        "zip": lambda: _read_zip(file),
        "parquet": lambda: _read_parquet(file, start, stop),
        "dataset": lambda: _read_dataset(file, start, stop),
    }
    for found in readers[file.kind]():
        if isinstance(found, Refused) or in_part(PurePosixPath(found.id).name, file.part):
            yield found


def _content(url: str) -> bytes:
    try:
        with fsspec.open(url, "rb") as file:
            content: bytes = file.read()
            return content
    except FileNotFoundError as error:
        raise V2LError(f"there is no file {url}") from error
    except Exception as error:  # each file system has its own
        raise V2LError(f"cannot read {url} ({error})") from error


def _given(content: bytes) -> bytes:
    return content


def _read_tar(file: InputFile) -> Read:
    """The members of a tar in order; the caption of a picture is the .txt beside it, as in WebDataset."""
    mode = "r:" if file.url.lower().endswith(".tar") else "r|*"
    last = file.name
    try:
        with fsspec.open(file.url, "rb") as packed, tarfile.open(fileobj=packed, mode=mode) as tar:  # type: ignore[call-overload]
            group: dict[str, bytes] = {}
            for member in tar:
                if not member.isreg() or member.size > LARGEST_MEMBER:
                    continue
                last = f"{file.name}/{member.name}"
                if group and sample_key(next(iter(group))) != sample_key(member.name):
                    yield from _grouped(file, group)
                    group = {}
                if member.name.lower().endswith((*READ_SUFFIXES, *CAPTION_SUFFIXES)):
                    group[member.name] = _whole(tar.extractfile(member), member.size)
            yield from _grouped(file, group)
            if mode == "r:":
                _check_end(packed, tar.offset)
    except FileNotFoundError:
        yield Refused(file.name, "missing", f"there is no file {file.name}")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        yield Refused(last, "truncated archive", f"{file.name} ends early or is damaged ({error})")


def _whole(member: IO[bytes] | None, size: int) -> bytes:
    content = member.read() if member is not None else b""
    if len(content) != size:
        raise tarfile.ReadError("unexpected end of data")
    return content


def _check_end(packed: Any, offset: int) -> None:
    """Refuse bytes behind the last member, because tarfile takes a damaged header for the end."""
    packed.seek(offset)
    if packed.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"no header at byte {offset:,}")


def _grouped(file: InputFile, group: dict[str, bytes]) -> Iterator[Sample]:
    captions = [content for name, content in group.items() if name.lower().endswith(CAPTION_SUFFIXES)]
    caption = captions[0].decode(errors="replace").strip() if captions else None
    for name, content in group.items():
        if name.lower().endswith(READ_SUFFIXES):
            yield Sample(f"{file.name}/{name}", partial(_given, content), caption)


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
        return Sample(name, partial(_given, archive.read(member)))
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        return Refused(name, "unreadable", f"{name} cannot be unpacked ({error})")


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what; None where there is none."""

    image: str
    id: str | None
    caption: str | None


def find_columns(schema: pa.Schema, name: str) -> Columns:
    """The columns of a table by their names and types.

    Args:
        schema: of the table.
        name: of the file, for the error line.

    Raises:
        V2LError: no column holds encoded images.
    """
    images = [field.name for field in schema if _holds_images(field.type)]
    known = [column for column in IMAGE_COLUMNS if column in images]
    if not images:
        found = ", ".join(f"{field.name}: {field.type}" for field in schema)
        raise V2LError(
            f"{name} has the columns {found}",
            "a column of encoded images: binary, or a struct with bytes, as Hugging Face datasets writes",
        )
    return Columns((known or images)[0], _first(schema, ID_COLUMNS), _first(schema, CAPTION_COLUMNS))


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" and _holds_images(field.type) for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _first(schema: pa.Schema, names: Sequence[str]) -> str | None:
    return next((name for name in names if name in schema.names), None)


def parquet_row_groups(file: InputFile) -> list[int]:
    """The rows of each row group of a Parquet file.

    Raises:
        V2LError: it is no Parquet file, is truncated, or has no column of images.
    """
    try:
        with fsspec.open(file.url, "rb") as opened:
            footer = pq.ParquetFile(opened)
            find_columns(footer.schema_arrow, file.name)
            return [footer.metadata.row_group(number).num_rows for number in range(footer.num_row_groups)]
    except (pa.ArrowException, OSError) as error:
        raise V2LError(f"{file.name} is no whole Parquet file ({error})", "a Parquet file") from error


def _read_parquet(file: InputFile, start: int, stop: int) -> Read:
    try:
        with fsspec.open(file.url, "rb") as opened:
            table = pq.ParquetFile(opened)
            columns = find_columns(table.schema_arrow, file.name)
            before = sum(table.metadata.row_group(number).num_rows for number in range(start))
            wanted = [column for column in (columns.image, columns.id, columns.caption) if column]
            for batch in table.iter_batches(ROWS, row_groups=list(range(start, stop)), columns=wanted):
                rows = batch.to_pylist()
                yield from (_row(file, columns, row, before + place) for place, row in enumerate(rows))
                before += len(rows)
    except V2LError as error:
        yield Refused(file.name, "wrong column", str(error))
    except (pa.ArrowException, OSError) as error:
        yield Refused(file.name, "unreadable", f"{file.name} is damaged ({error})")


def _row(file: InputFile, columns: Columns, row: dict[str, Any], number: int) -> Sample | Refused:
    """One row of a table; without an id column its id is the file's name and the row's number."""
    given = row.get(columns.id) if columns.id else None
    name = f"{file.name}/{number}" if given is None else str(given)
    value = row[columns.image]
    content = value.get("bytes") if isinstance(value, dict) else value
    caption = row.get(columns.caption) if columns.caption else None
    if content is None:
        return Refused(name, "missing", f"row {number} of {file.name} has no image")
    return Sample(name, partial(_given, content), str(caption) if caption is not None else None)


def open_dataset(file: InputFile) -> Any:
    """A split of Hugging Face `datasets`: a folder of `save_to_disk`, or a name that `load_dataset` takes.

    Raises:
        V2LError: the package is missing, the data set is not there, or a split has to be chosen.
    """
    try:
        import datasets
    except ImportError as error:
        raise V2LError(f"{file.url} needs the package datasets", run="pip install datasets") from error
    try:
        local = fsspec.core.url_to_fs(file.url)[0].isdir(file.url)
        found = (
            datasets.load_from_disk(file.url) if local else datasets.load_dataset(file.url, split=file.split)
        )
    except Exception as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise V2LError(f"cannot load the data set {file.url} ({line})", "a data set with images") from error
    if isinstance(found, dict):
        if file.split not in found:
            raise V2LError(
                f"{file.url} has the splits {', '.join(found)}",
                "one split",
                f"hf:{file.url}@{next(iter(found))}",
            )
        found = found[file.split]
    images = [name for name, feature in found.features.items() if isinstance(feature, datasets.Image)]
    return found.cast_column(images[0], datasets.Image(decode=False)) if images else found


def dataset_rows(file: InputFile) -> int:
    """The number of rows of a data set.

    Raises:
        V2LError: as `open_dataset`; or no column holds images.
    """
    found = open_dataset(file)
    find_columns(found.features.arrow_schema, file.name)
    return len(found)


def _read_dataset(file: InputFile, start: int, stop: int) -> Read:
    found = open_dataset(file)
    columns = find_columns(found.features.arrow_schema, file.name)
    for number in range(start, stop):
        row = found[number]
        value = row[columns.image]
        if isinstance(value, dict) and value.get("bytes") is None and value.get("path"):
            row = {**row, columns.image: _content(value["path"])}
        yield _row(file, columns, row, number)
