"""rows of Parquet files and of Hugging Face data sets ──► encoded images, their ids and captions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from v2l.errors import V2LError
from v2l.tokenization.places import InputFile
from v2l.tokenization.samples import Read, Refused, Sample, content_of, unchanged

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "webp", "bytes", "image_bytes", "content")
ID_COLUMNS = ("id", "__key__", "key", "image_id")
CAPTION_COLUMNS = ("caption", "text", "txt")
ROWS = 32  # rows of a Parquet file in memory at once


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


def read_parquet(file: InputFile, start: int, stop: int) -> Read:
    """The images of some row groups of a Parquet file."""
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
    content, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    caption = row.get(columns.caption) if columns.caption else None
    if content is None and (file.kind != "dataset" or not path):
        return Refused(name, "missing", f"row {number} of {file.name} has no image")
    load = partial(content_of, str(path)) if content is None else partial(unchanged, content)
    return Sample(name, load, str(caption) if caption is not None else None)


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
    for name in [name for name, kind in found.features.items() if isinstance(kind, datasets.Image)]:
        found = found.cast_column(name, datasets.Image(decode=False))
    return found


def dataset_rows(file: InputFile) -> int:
    """The number of rows of a data set.

    Raises:
        V2LError: as `open_dataset`; or no column holds images.
    """
    found = open_dataset(file)
    find_columns(found.features.arrow_schema, file.name)
    return len(found)


def read_dataset(file: InputFile, start: int, stop: int) -> Read:
    """The images of some rows of a data set."""
    found = open_dataset(file)
    columns = find_columns(found.features.arrow_schema, file.name)
    for number in range(start, stop):
        yield _row(file, columns, found[number], number)
