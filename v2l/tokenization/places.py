"""places (folders, lists, archives, Parquet files, data sets; local or in a bucket) ──► the files in them.

No image is read here. A folder is listed through all its folders; hidden files are left out.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from v2l.archives import READ_SUFFIXES
from v2l.errors import V2LError
from v2l.sources import Part, bytes_of, in_part, part_of
from v2l.tokenization.storage import open_place

TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
PARQUET_SUFFIXES = (".parquet", ".pq")
LIST_SUFFIXES = (".csv", ".jsonl", ".txt")
DATASET = "hf:"  # hf:NAME or hf:NAME@SPLIT
DATASET_FILES = ("state.json", "dataset_dict.json")  # what `save_to_disk` of Hugging Face datasets writes
ALLOWED = (
    "a folder, an image, a list (.csv or .jsonl with path, .txt), a .tar, .zip or .parquet file, local or on "
    "s3://, gs://, http://; or hf:NAME of Hugging Face datasets"
)
Kind = Literal["image", "tar", "zip", "parquet", "dataset"]


@dataclass(frozen=True)
class InputFile:
    """A file that holds one image or many.

    Attributes:
        kind: how it is read.
        name: what its images are called after: the path below its place.
        url: what opens it.
        version: size and time of writing or ETag; it changes when the file is replaced.
        caption: a text that belongs to the image, from a list.
        split: of a Hugging Face data set.
        part: which part of its images is read, by a hash of their names.
        listed: its path as a list has it, where the list gives it another name.
    """

    kind: Kind
    name: str
    url: str
    version: str = ""
    caption: str | None = None
    split: str | None = None
    part: Part = "all"
    listed: str = ""


def find_files(places: Sequence[str]) -> list[InputFile]:
    """The files of all places, in the order of the places, sorted inside each.

    Args:
        places: see `ALLOWED`. `FOLDER@train` and `FOLDER@eval` give a part of the images, by a hash of the
            name.

    Raises:
        V2LError: a place, bucket or package is missing, or a place holds nothing to read.
    """
    return [file for place in places for file in _files_of(str(place))]


def _files_of(place: str) -> list[InputFile]:
    if place.startswith(DATASET):
        name, _, split = place.removeprefix(DATASET).partition("@")
        return [InputFile("dataset", name, name, split=split or None)]
    try:
        file_system, root, part = _open_part(place)
        found = _list_place(file_system, root, place)
    except V2LError:
        raise
    except Exception as error:  # each file system has its own: a bucket, a key or a server is not there
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise V2LError(f"cannot read {place} ({line})", ALLOWED, "another place") from error
    found = [replace(file, part=part) for file in found]
    found = [file for file in found if file.kind != "image" or in_part(PurePosixPath(file.name).name, part)]
    if not found:
        raise V2LError(f"{place} holds nothing to read", ALLOWED, "another place")
    return found


def _open_part(place: str) -> tuple[Any, str, Part]:
    """A place without @train or @eval ──► its file system, its path there, and its part.

    A place that really has such a name is itself.
    """
    source, part = part_of(place)
    if "://" not in place:
        return *open_place(str(source)), part
    file_system, root = open_place(place)
    if part == "all" or file_system.exists(root):
        return file_system, root, "all"
    return *open_place(place.rpartition("@")[0]), part


def _list_place(file_system: Any, root: str, place: str) -> list[InputFile]:
    if any(sign in root for sign in "*?[") and not file_system.exists(root):
        paths = sorted(file_system.glob(root))
        return [file for path in paths for file in _one_file(file_system, path, path)]
    if file_system.isdir(root):
        states = [path for name in DATASET_FILES if file_system.exists(path := f"{root.rstrip('/')}/{name}")]
        if states:
            version = fingerprint([file_system.cat_file(states[0]).decode()])
            return [InputFile("dataset", PurePosixPath(root).name, root, version)]
        return _below(file_system, root.rstrip("/"))
    if not file_system.exists(root):
        raise FileNotFoundError(f"there is no folder or file {place}")
    if root.lower().endswith(LIST_SUFFIXES):
        return list(_listed(file_system, root))
    return _one_file(file_system, root, root) or [_described(file_system, "image", root, root)]


def _below(file_system: Any, root: str) -> list[InputFile]:
    """The images, archives and Parquet files below a folder."""
    found = []
    for path, info in sorted(file_system.find(root, detail=True).items()):
        name = str(path)[len(root) :].lstrip("/")
        kind = kind_of(name)
        if kind is not None and not any(part.startswith(".") for part in name.split("/")):
            found.append(InputFile(kind, name, file_system.unstrip_protocol(path), _version(info)))
    return found


def kind_of(name: str) -> Kind | None:
    """How a file of this name is read; None if it is not."""
    lower = name.lower()
    if lower.endswith(READ_SUFFIXES):
        return "image"
    if lower.endswith(TAR_SUFFIXES):
        return "tar"
    if lower.endswith(".zip"):
        return "zip"
    return "parquet" if lower.endswith(PARQUET_SUFFIXES) else None


def _one_file(file_system: Any, path: str, name: str) -> list[InputFile]:
    """A file by its suffix, named by the last part of its path; nothing for other suffixes."""
    kind = kind_of(path)
    return [] if kind is None else [_described(file_system, kind, path, PurePosixPath(name).name)]


def _described(file_system: Any, kind: Kind, path: str, name: str) -> InputFile:
    url = file_system.unstrip_protocol(path)
    return InputFile(kind, PurePosixPath(name).name, url, _version(file_system.info(path)))


def _version(info: dict[str, Any]) -> str:
    """What changes when a file is replaced: its size, and its ETag or time of writing."""
    changed = info.get("ETag") or info.get("etag") or info.get("mtime") or info.get("LastModified") or ""
    return f"{info.get('size')} {changed}"


def _listed(file_system: Any, path: str) -> Iterator[InputFile]:
    """The images of a list. Relative paths are relative to the list's folder; nothing is opened."""
    text = file_system.cat_file(path).decode("utf-8-sig", errors="surrogateescape")
    suffix = PurePosixPath(path).suffix.lower()
    rows: Iterable[dict[str, Any]]
    if suffix == ".csv":
        rows = csv.DictReader(io.StringIO(text, newline=""))
    elif suffix == ".jsonl":
        rows = (json.loads(line) for line in text.split("\n") if line.strip())
    else:
        rows = ({"path": line.strip()} for line in text.split("\n") if line.strip())
    folder = file_system.unstrip_protocol(path).rpartition("/")[0]
    for number, row in enumerate(rows, start=1):
        target = row.get("path") or row.get("url") if isinstance(row, dict) else None
        if not target:
            raise V2LError(
                f"row {number} of {path} has no path",
                "a column path or url",
                "path,caption as the first line",
            )
        url = target if "://" in target or target.startswith("/") else f"{folder}/{target}"
        named = row.get("id") not in (None, "")
        yield InputFile(
            "image",
            str(row["id"]) if named else target,
            url,
            _local_version(url),
            _caption(row),
            listed=target if named else "",
        )


def _caption(row: dict[str, Any]) -> str | None:
    """A row's caption, the first of several; what is no text is written as one."""
    given = row.get("caption") or row.get("text")
    if isinstance(given, list):
        given = next(iter(given), None)
    return None if given is None else str(given)


def _local_version(url: str) -> str:
    """The version of a file on this machine; listed files elsewhere are not asked for one by one."""
    local = Path(url.removeprefix("file://"))
    if "://" in url.removeprefix("file://") or not local.is_file():
        return ""
    info = local.stat()
    return f"{info.st_size} {info.st_mtime}"


def fingerprint(lines: Iterable[str]) -> str:
    """A short hash of lines: 16 hexadecimal digits of a SHA-256."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(bytes_of(line) + b"\n")
    return digest.hexdigest()[:16]
