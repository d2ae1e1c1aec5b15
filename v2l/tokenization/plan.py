"""places + settings ──► the shards of a run, and the manifest that a later run must agree with.

The same places always give the same shards. A shard is the unit of work: one process reads it, and its output
appears whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from v2l.checkpoint import MANIFEST
from v2l.errors import V2LError
from v2l.tokenization.places import InputFile, find_files, fingerprint
from v2l.tokenization.reader import dataset_rows, parquet_row_groups
from v2l.tokenization.storage import Storage

KIND, SCHEMA = "v2l-tokens", 1
FORMATS = ("parquet", "webdataset", "jsonl")
PRECISIONS = ("float32", "bfloat16")
FOOTERS = 16  # Parquet footers that are read at the same time


@dataclass(frozen=True)
class Settings:
    """What determines the bytes of the output, apart from input and checkpoint.

    Attributes:
        shard: at most so many images in a shard; an archive is one shard, whatever its size.
        format: a name of `FORMATS`.
        vectors: whether each image's vector in the joint space is written too.
        precision: of the forward passes, a name of `PRECISIONS`.
        compiled: whether torch.compile is used.
        forward_batch: images in one forward pass. It is fixed, because another batch may change the last bit.
    """

    shard: int = 10_000
    format: str = "parquet"
    vectors: bool = False
    precision: str = "float32"
    compiled: bool = False
    forward_batch: int = 8


@dataclass(frozen=True)
class Shard:
    """A part of the input.

    Attributes:
        number: from 0, in the order of the input.
        files: images; or one file that holds many.
        start: the first row, or row group of a Parquet file.
        stop: the one after the last; 0 for a whole file.
        problem: why the file cannot be read at all; "" if it can.
    """

    number: int
    files: tuple[InputFile, ...]
    start: int = 0
    stop: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Plan:
    """The shards of a run, and what they were made from.

    Attributes:
        shards: in order.
        files: number of input files.
        fingerprint: hash of the files' names, sizes and times of writing.
    """

    shards: tuple[Shard, ...] = field(repr=False)
    files: int
    fingerprint: str


def make_plan(places: Sequence[str], shard: int) -> Plan:
    """List the input and split it.

    Args:
        places: see `v2l.tokenization.places.ALLOWED`.
        shard: images in a shard.

    Raises:
        V2LError: a place cannot be read, or no file of it can.
    """
    files = _distinct(find_files(places))
    shards = [replace(found, number=number) for number, found in enumerate(_split(files, shard))]
    problems = [found.problem for found in shards]
    if all(problems):
        raise V2LError(f"none of {len(files)} file(s) can be read; the first: {problems[0]}")
    lines = (f"{file.kind} {file.name} {file.version} {file.split} {file.part}" for file in files)
    return Plan(tuple(shards), len(files), fingerprint([*lines, *map(_rows_line, shards)]))


def _distinct(files: Iterable[InputFile]) -> list[InputFile]:
    """Give the second and later files of one name the suffix #2, #3, …: an id belongs to one image."""
    seen: dict[str, int] = {}
    distinct = []
    for file in files:
        seen[file.name] = seen.get(file.name, 0) + 1
        again = seen[file.name] > 1
        distinct.append(replace(file, name=f"{file.name}#{seen[file.name]}") if again else file)
    return distinct


def _rows_line(shard: Shard) -> str:
    return f"{len(shard.files)} {shard.start} {shard.stop}"


def _split(files: Sequence[InputFile], size: int) -> Iterator[Shard]:
    """Runs of images by `size`; archives whole; Parquet files and data sets by rows."""
    images: list[InputFile] = []
    with ThreadPoolExecutor(FOOTERS) as pool:
        parts = [None if file.kind == "image" else pool.submit(_split_file, file, size) for file in files]
        for file, part in zip(files, parts, strict=True):
            if part is None:
                images.append(file)
            if images and (part is not None or len(images) == size):
                yield Shard(0, tuple(images))
                images = []
            if part is not None:
                yield from part.result()
    if images:
        yield Shard(0, tuple(images))


def _split_file(file: InputFile, size: int) -> list[Shard]:
    """The shards of a file that holds many images."""
    if file.kind == "dataset":
        rows = dataset_rows(file)
        return [Shard(0, (file,), start, min(rows, start + size)) for start in range(0, rows, size)]
    if file.kind != "parquet":
        return [Shard(0, (file,))]
    try:
        groups = parquet_row_groups(file)
    except V2LError as error:  # one bad file of many is not the end of the run
        return [Shard(0, (file,), problem=str(error))]
    return [Shard(0, (file,), start, stop) for start, stop in _runs(groups, size)]


def _runs(groups: Sequence[int], size: int) -> Iterator[tuple[int, int]]:
    """Rows of each row group ──► (first, after the last) of runs with at most `size` rows, or one group."""
    start, rows = 0, 0
    for number, count in enumerate(groups):
        if number > start and rows + count > size:
            yield start, number
            start, rows = number, 0
        rows += count
    if start < len(groups):
        yield start, len(groups)


def describe(
    plan: Plan, places: Sequence[str], settings: Settings, tokenizer: Mapping[str, Any]
) -> dict[str, Any]:
    """The manifest of a run.

    Args:
        plan: the shards.
        places: where the input is; not compared, because a folder may be moved.
        settings: of the output.
        tokenizer: its name and the fingerprint of its checkpoint.
    """
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "places": list(places),
        "input": {"files": plan.files, "shards": len(plan.shards), "fingerprint": plan.fingerprint},
        "tokenizer": dict(tokenizer),
        "settings": asdict(settings),
    }


def agree(output: Storage, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of a new run, or check that an earlier run in the same folder had the same.

    Raises:
        V2LError: the folder is another run's, with both values, or holds files that v2l did not write.
    """
    if not output.exists(MANIFEST):
        foreign = [name for name in output.names("*") if not name.startswith(".")]
        if foreign:
            raise V2LError(
                f"{output.url} holds {foreign[0]} and no {MANIFEST}",
                "a new or empty folder, or one that v2l tokenize wrote",
                "another -o",
            )
        output.write_bytes(MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False).encode() + b"\n")
        return
    earlier = read_run(output)
    for section in ("settings", "tokenizer", "input"):
        for key, value in manifest[section].items():
            before = earlier[section].get(key)
            if before != value and key != "checkpoint":
                raise V2LError(
                    f"{output.url} was begun with {section} {key} = {before!r}, and now it is {value!r}",
                    "the same input, checkpoint and settings when a run goes on",
                    "another -o",
                )


def read_run(output: Storage) -> dict[str, Any]:
    """The manifest of a folder that `v2l tokenize` wrote.

    Raises:
        V2LError: there is none, or it is damaged or of another kind.
    """
    run = f"v2l tokenize PLACE -o {output.url}"
    if not output.exists(MANIFEST):
        raise V2LError(f"{output.url} holds no {MANIFEST}", "a folder that v2l tokenize wrote", run)
    try:
        manifest: dict[str, Any] = json.loads(output.read(MANIFEST))
        kind, schema = manifest["kind"], manifest["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise V2LError(
            f"{output.url}/{MANIFEST} is damaged ({error})", "a folder of v2l tokenize", run
        ) from error
    if (kind, schema) != (KIND, SCHEMA):
        raise V2LError(
            f"{output.url} has kind {kind!r}, schema {schema!r}",
            f"kind {KIND!r}, schema {SCHEMA}",
            "another -o",
        )
    return manifest
