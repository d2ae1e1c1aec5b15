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
from v2l.tokenization.storage import Storage
from v2l.tokenization.tables import dataset_rows, parquet_row_groups

KIND, SCHEMA = "v2l-tokens", 1
FORMATS = ("parquet", "webdataset", "jsonl")
PRECISIONS = ("float32", "bfloat16")
SHARDS, SMALLEST_SHARD, LARGEST_SHARD = 32, 64, 10_000  # when no size is given
FOOTERS = 16  # Parquet footers that are read at the same time


@dataclass(frozen=True)
class Settings:
    """What determines the bytes of the output, apart from input and checkpoint.

    Attributes:
        shard: at most so many images in a shard; an archive is one shard, whatever its size. None: chosen
            by the size of the input.
        format: a name of `FORMATS`.
        vectors: whether each image's vector in the joint space is written too.
        precision: of the forward passes, a name of `PRECISIONS`.
        compiled: whether torch.compile is used.
        forward_batch: images in one forward pass. It is fixed, because another batch may change the last bit.
    """

    shard: int | None = None
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
        shard_size: images in a shard.
        files: number of input files.
        fingerprint: hash of the files' names, sizes, times of writing and rows, and of a list's captions.
    """

    shards: tuple[Shard, ...] = field(repr=False)
    shard_size: int
    files: int
    fingerprint: str


@dataclass(frozen=True)
class Measured:
    """A file and the rows in it.

    Attributes:
        file: of the input.
        groups: rows of each row group of a Parquet file; [1] for an image; [] for an archive, whose members
            are not counted.
        rows: of all groups, or of a data set.
        problem: why the file cannot be read at all.
    """

    file: InputFile
    groups: Sequence[int] = ()
    rows: int = 0
    problem: str = ""

    @property
    def line(self) -> str:
        """What changes when the file is replaced."""
        file = self.file
        line = (
            f"{file.kind} {file.name} {file.version} {file.split} {file.part} {self.rows} {len(self.groups)}"
        )
        listed = {"path": file.listed, "caption": file.caption}
        return line + "".join(f" {name} {value!r}" for name, value in listed.items() if value)


def make_plan(places: Sequence[str], shard_size: int | None = None) -> Plan:
    """List the input and split it.

    Args:
        places: see `v2l.tokenization.places.ALLOWED`.
        shard_size: images in a shard; None: a 32nd of the input, from 64 to 10,000, so that a small input
            keeps several workers busy.

    Raises:
        V2LError: a place cannot be read, or no file of it can.
    """
    files = _distinct(find_files(places))
    with ThreadPoolExecutor(FOOTERS) as pool:
        measured = list(pool.map(_measure, files))
    problems = [found.problem for found in measured]
    if all(problems):
        raise V2LError(f"none of {len(files)} file(s) can be read; the first: {problems[0]}")
    rows = sum(found.rows for found in measured)
    size = shard_size or min(LARGEST_SHARD, max(SMALLEST_SHARD, rows // SHARDS))
    shards = [replace(shard, number=number) for number, shard in enumerate(_split(measured, size))]
    return Plan(tuple(shards), size, len(files), fingerprint(found.line for found in measured))


def _distinct(files: Iterable[InputFile]) -> list[InputFile]:
    """Give the second and later files of one name the suffix #2, #3, …: an id belongs to one image."""
    seen: dict[str, int] = {}
    distinct = []
    for file in files:
        seen[file.name] = seen.get(file.name, 0) + 1
        again = seen[file.name] > 1
        distinct.append(replace(file, name=f"{file.name}#{seen[file.name]}") if again else file)
    return distinct


def _measure(file: InputFile) -> Measured:
    """Count the rows of a file, where that is quick."""
    if file.kind == "image":
        return Measured(file, (1,), 1)
    if file.kind == "dataset":
        return Measured(file, rows=dataset_rows(file))
    if file.kind != "parquet":
        return Measured(file)
    try:
        groups = parquet_row_groups(file)
        return Measured(file, groups, sum(groups))
    except V2LError as error:  # one bad file of many is not the end of the run
        return Measured(file, problem=str(error))


def _split(measured: Sequence[Measured], size: int) -> Iterator[Shard]:
    """Runs of images by `size`; archives whole; Parquet files and data sets by rows."""
    images: list[InputFile] = []
    for found in measured:
        is_image = found.file.kind == "image"
        if images and (not is_image or len(images) == size):
            yield Shard(0, tuple(images))
            images = []
        if is_image:
            images.append(found.file)
        else:
            yield from _split_file(found, size)
    if images:
        yield Shard(0, tuple(images))


def _split_file(found: Measured, size: int) -> Iterator[Shard]:
    """The shards of a file that holds many images."""
    files, rows = (found.file,), found.rows
    if found.problem or found.file.kind in ("tar", "zip"):
        yield Shard(0, files, problem=found.problem)
    elif found.file.kind == "dataset":
        yield from (Shard(0, files, start, min(rows, start + size)) for start in range(0, rows, size))
    else:
        yield from (Shard(0, files, start, stop) for start, stop in _runs(found.groups, size))


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
        "shards": len(plan.shards),
        "input": {"files": plan.files, "fingerprint": plan.fingerprint},
        "tokenizer": dict(tokenizer),
        "settings": {**asdict(settings), "shard": plan.shard_size},
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
        text = json.dumps(manifest, indent=2, ensure_ascii=False)
        output.write_bytes(MANIFEST, text.encode(errors="backslashreplace") + b"\n")
        return
    earlier = read_run(output)
    for section in ("input", "tokenizer", "settings"):
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
