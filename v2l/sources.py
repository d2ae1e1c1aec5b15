"""places (folders, lists, archives) ──► image files: paths, and members of archives, read where they lie.

A place may end in `@train` or `@eval`: then it gives only that part of its images, by a hash of the file's
name.
"""

from __future__ import annotations

import csv
import hashlib
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from v2l.archives import (
    READ_SUFFIXES,
    LeftOut,
    TarMember,
    ZipMember,
    can_read,
    check_kind,
    is_archive,
    read_tar,
    read_zip,
)
from v2l.errors import V2LError

LIST_SUFFIXES = (".csv", ".txt")
TRAIN_SHARE = 80  # per cent
PLACES = (
    "a folder, an image, a list (.csv with a column path, .txt with a path a line) or an archive "
    "(.tar, .tar.gz, .tar.bz2, .tar.xz, .zip); @train or @eval for a part"
)
Part = Literal["train", "eval", "all"]
ImageFile = Path | TarMember | ZipMember
"""What images are read from; all kinds have `name` and `parent`, and `str` names them for people."""
AnyImageFile = TypeVar("AnyImageFile", Path, TarMember, ZipMember, ImageFile)


def is_container(place: str | Path) -> bool:
    """True for a folder and for an archive: a place of many images."""
    return Path(place).is_dir() or is_archive(Path(place))


def image_bytes(file: ImageFile) -> bytes:
    """The bytes of an image file.

    Raises:
        V2LError: the archive ends before them.
        OSError: the file cannot be read.
    """
    if isinstance(file, Path):
        return file.read_bytes()
    try:
        content = file.read()
    except zlib.error:
        content = b""
    if len(content) != file.size:
        test = "unzip -t" if isinstance(file, ZipMember) else "tar -tf"
        got = f"{file} is cut short: {file.archive} ends before it, or is damaged"
        raise V2LError(got, "a whole archive", f"{test} {file.archive}")
    return content


def same_bytes(files: Sequence[ImageFile], others: Sequence[ImageFile]) -> list[ImageFile]:
    """The files whose bytes one of the others has too: copies and links count, and so do archive members.

    Only files of equal size are read.
    """
    sizes = set(map(image_size, files)) & set(map(image_size, others))
    known = {digest_of_bytes(file) for file in others if image_size(file) in sizes}
    return [file for file in files if image_size(file) in sizes and digest_of_bytes(file) in known]


def digest_of_bytes(file: ImageFile) -> bytes:
    """SHA-256 of an image file's bytes; of nothing if it is gone."""
    return hashlib.sha256(image_bytes(file) if image_size(file) else b"").digest()


def image_size(file: ImageFile) -> int:
    """How many bytes an image file has; 0 when it is gone."""
    if isinstance(file, Path):
        return file.stat().st_size if file.is_file() else 0
    return file.size


def image_version(file: ImageFile) -> tuple[int, int] | None:
    """A file's size and time of writing, or its archive's: both change with a new file; None when gone."""
    container = file if isinstance(file, Path) else file.archive
    return (image_size(file), container.stat().st_mtime_ns) if container.is_file() else None


def split_by_hash(files: Iterable[AnyImageFile], part: Part = "all") -> list[AnyImageFile]:
    """The files of one part: 80 % train, 20 % eval, by the sha256 of the file's name.

    The name alone decides, so that a file never changes sides.
    """
    return [file for file in files if in_part(file.name, part)]


def in_part(name: str, part: Part) -> bool:
    """Whether a file of this name, without its folders, belongs to a part."""
    return part == "all" or _is_train(name) == (part == "train")


def find_images(*places: str | Path) -> list[ImageFile]:
    """The image files of one or several places, each once: by place, then by name or in list order.

    What is left out of archives is counted, and said in one `LeftOutWarning`: names that lead outside the
    archive, links, devices, hidden files, files that are no picture. The labels of a picture are not left
    out: files of its name up to the first dot, as in WebDataset's shards (0.jpg, 0.cls).

    Args:
        places: folders, searched through all their folders, hidden ones left out, archives in them read too;
            image files; lists: .csv with a column `path`, .txt with a path a line, relative to the list's own
            folder; archives: .tar, .tar.gz, .tar.bz2, .tar.xz, .zip. `PLACE@train` and `PLACE@eval` give a
            part of a place, see `split_by_hash`.

    Raises:
        V2LError: a place is missing or holds no image file, a list has no paths, or an archive is damaged or
            of a kind that is not read.

    Example:
        >>> find_images("photographs@train", "more.csv", "shard-000.tar", "holiday.zip")
    """
    left_out = LeftOut()
    found = list(dict.fromkeys(file for place in places for file in _images_of(place, left_out)))
    left_out.warn()
    return found


def _images_of(place: str | Path, left_out: LeftOut) -> list[ImageFile]:
    source, part = part_of(place)
    if not source.exists():
        raise V2LError(f"there is no folder or file {place}", PLACES, f"ls {source.parent}")
    found = split_by_hash(_read_place(source, left_out), part)
    if not found:
        raise V2LError(
            f"{place} holds no image file", "files ending in " + ", ".join(READ_SUFFIXES), "another place"
        )
    return found


def part_of(place: str | Path) -> tuple[Path, Part]:
    """`FOLDER@train` ──► the folder and its part; a file or folder that really has such a name is itself."""
    head, _, tail = str(place).rpartition("@")
    if head and not Path(place).exists():
        if tail == "train":
            return Path(head), "train"
        if tail == "eval":
            return Path(head), "eval"
    return Path(place), "all"


def _read_place(source: Path, left_out: LeftOut) -> list[ImageFile]:
    """The image files of a folder, list, archive or image."""
    if source.is_dir():
        return _below(source, left_out)
    if is_archive(source):
        check_kind(source)
        zipped = source.name.lower().endswith(".zip")
        return list(read_zip(source, left_out) if zipped else read_tar(source, left_out))
    if source.suffix.lower() == ".csv":
        return list(_read_csv(source))
    if source.suffix.lower() == ".txt":
        return list(_read_lines(source))
    return [source]


def _below(folder: Path, left_out: LeftOut) -> list[ImageFile]:
    found = [
        path
        for path in folder.rglob("*")
        if (path.suffix.lower() in READ_SUFFIXES or is_archive(path)) and path.is_file()
    ]
    visible = [
        path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    files: list[ImageFile] = []
    for path in sorted(visible, key=Path.as_posix):
        if is_archive(path) and not can_read(path):
            left_out.add("whole archives of a kind that v2l does not read", str(path))
        else:
            files += _read_place(path, left_out)
    return files


def _read_csv(source: Path) -> list[Path]:
    with source.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file)
        columns = rows.fieldnames or []
        if "path" not in columns:
            found = f"has the columns {', '.join(columns)}" if columns else "is empty"
            raise V2LError(f"{source} {found}", "a first line with a column named path", "path,label")
        return _listed(source, (row["path"] or "" for row in rows))


def _read_lines(source: Path) -> list[Path]:
    return _listed(source, source.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n"))


def _listed(source: Path, paths: Iterable[str]) -> list[Path]:
    return [source.parent / path.strip() for path in paths if path.strip()]


def _is_train(name: str) -> bool:
    return int(hashlib.sha256(bytes_of(name)).hexdigest(), 16) % 100 < TRAIN_SHARE


def bytes_of(name: str) -> bytes:
    """A name as the disk has it; half of a character, which only JSON can hold, becomes an escape."""
    try:
        return name.encode(errors="surrogateescape")
    except UnicodeEncodeError:
        return name.encode(errors="backslashreplace")
