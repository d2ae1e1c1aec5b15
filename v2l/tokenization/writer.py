"""rows ──► one file of a shard: Parquet, a tar of WebDataset, or JSON lines of chat messages.

Equal rows give equal bytes: compression and row groups are fixed, and nothing holds a time.
"""

from __future__ import annotations

import io
import json
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 1024  # rows that are kept in memory until they are written
EMBEDDED = 1 << 22  # numbers of their embeddings at most; in Python they take 32 bytes each
QUESTION = "These words name an image, the best first: {words}. What is in the image?"


class RowWriter(ABC):
    """A file that takes rows one by one.

    Args:
        path: a new file.
        schema: columns and metadata.
    """

    suffix: str

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.path, self.schema = path, schema

    @abstractmethod
    def add(self, row: Mapping[str, Any]) -> None:
        """Write one row; its keys are the columns of the schema, missing ones count as empty."""

    @abstractmethod
    def close(self) -> None:
        """Write what is kept, and end the file."""

    @staticmethod
    @abstractmethod
    def read(file: IO[bytes]) -> Iterator[dict[str, Any]]:
        """The rows of a file, in order."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()


class ParquetWriter(RowWriter):
    """Zstandard, `ROW_GROUP` rows or `EMBEDDED` numbers in a group; ids and words as dictionaries."""

    suffix = ".parquet"

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        super().__init__(path, schema)
        self._rows: list[Mapping[str, Any]] = []
        self._embedded = 0
        self._file = pq.ParquetWriter(path, schema, compression="zstd", compression_level=3)

    def add(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)
        self._embedded += len(row.get("embeddings") or ())
        if len(self._rows) == ROW_GROUP or self._embedded >= EMBEDDED:
            self._write()

    def _write(self) -> None:
        if self._rows:
            self._file.write_table(pa.Table.from_pylist(self._rows, schema=self.schema))
        self._rows, self._embedded = [], 0

    def close(self) -> None:
        try:
            self._write()
        finally:
            self._file.close()

    @staticmethod
    def read(file: IO[bytes]) -> Iterator[dict[str, Any]]:
        for batch in pq.ParquetFile(file).iter_batches(64):
            yield from batch.to_pylist()


class WebDatasetWriter(RowWriter):
    """A tar with one member for each image, 000000017.json, which holds its row."""

    suffix = ".tar"

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        super().__init__(path, schema)
        self._count = 0
        self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115

    def add(self, row: Mapping[str, Any]) -> None:
        content = _json_line(_present(row, self.schema))
        member = tarfile.TarInfo(f"{self._count:09d}.json")  # its time is 0, its owner is nobody
        member.size = len(content)
        self._tar.addfile(member, io.BytesIO(content))
        self._count += 1

    def close(self) -> None:
        self._tar.close()

    @staticmethod
    def read(file: IO[bytes]) -> Iterator[dict[str, Any]]:
        with tarfile.open(fileobj=file) as tar:
            for member in tar:
                content = tar.extractfile(member)
                assert content is not None
                yield json.load(content)


class JsonLinesWriter(RowWriter):
    """A line for each image: its row, and `messages` for the fine-tuning of an LLM.

    The user gives the words and the assistant answers with the caption of the input, or with the best words
    where there is none.
    """

    suffix = ".jsonl"

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        super().__init__(path, schema)
        self._file = path.open("wb")

    def add(self, row: Mapping[str, Any]) -> None:
        self._file.write(_json_line({"messages": messages(row), **_present(row, self.schema)}))

    def close(self) -> None:
        self._file.close()

    @staticmethod
    def read(file: IO[bytes]) -> Iterator[dict[str, Any]]:
        for line in file:
            yield json.loads(line)


def messages(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """A chat about one image: the words in a question, the caption (else the best three words) as answer."""
    words = [word for word in row.get("words") or () if word]
    listed = ", ".join(words) or "token ids " + " ".join(map(str, row.get("ids") or ()))
    return [
        {"role": "user", "content": QUESTION.format(words=listed)},
        {"role": "assistant", "content": row.get("caption") or ", ".join(words[:3])},
    ]


def _present(row: Mapping[str, Any], schema: pa.Schema) -> dict[str, Any]:
    """The columns of a schema that a row fills."""
    return {name: row[name] for name in schema.names if row.get(name) is not None}


def _json_line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n"


WRITERS: dict[str, type[RowWriter]] = {
    "parquet": ParquetWriter,
    "webdataset": WebDatasetWriter,
    "jsonl": JsonLinesWriter,
}
