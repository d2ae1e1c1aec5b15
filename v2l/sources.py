"""places (folders, lists, tar shards) ──► image files: paths, and members of tar archives that are never unpacked.

A place may end in `@train` or `@eval`: then it gives only that part of its images, by a hash of the file's name.
"""

from __future__ import annotations

import csv
import hashlib
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

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
LIST_SUFFIXES = (".csv", ".txt")
SHARD_SUFFIX = ".tar"
TRAIN_SHARE = 80  # per cent
PLACES = "a folder, an image, a list (.csv with a column path, .txt with a path a line) or a shard (.tar); @train or @eval for a part"

Part = Literal["train", "eval", "all"]


@dataclass(frozen=True, order=True)
class TarMember:
    """An image inside an uncompressed tar archive, read where it lies.

    Attributes:
        archive: the archive.
        member: its whole name in the archive.
        offset: where its bytes begin.
        size: how many they are.
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
        """The folder that it would lie in, were the archive one."""
        return self.archive.joinpath(PurePosixPath(self.member).parent)

    def __str__(self) -> str:
        return f"{self.archive}/{self.member}"


ImageFile = Path | TarMember
"""What images are read from; both kinds have `name` and `parent`, and `str` names them for people."""
AnyImageFile = TypeVar("AnyImageFile", Path, TarMember, ImageFile)


def image_bytes(file: ImageFile) -> bytes:
    """The bytes of an image file.

    Raises:
        V2LError: the archive ends before them.
        OSError: the file cannot be read.
    """
    if isinstance(file, Path):
        return file.read_bytes()
    with file.archive.open("rb") as archive:
        archive.seek(file.offset)
        content = archive.read(file.size)
    if len(content) < file.size:
        raise V2LError(
            f"{file} is cut short: {file.archive} ends before it",
            "a whole archive",
            f"tar -tf {file.archive}",
        )
    return content


def image_size(file: ImageFile) -> int:
    """How many bytes an image file has; 0 when it is gone."""
    if isinstance(file, Path):
        return file.stat().st_size if file.is_file() else 0
    return file.size


def image_version(file: ImageFile) -> tuple[int, int] | None:
    """What changes when a file is replaced under its name: its size, and when it or its archive was written; None when it is gone."""
    container = file if isinstance(file, Path) else file.archive
    return (image_size(file), container.stat().st_mtime_ns) if container.is_file() else None


def split_by_hash(files: Iterable[AnyImageFile], part: Part = "all") -> list[AnyImageFile]:
    """The files of one part: 80 % train, 20 % eval, by the sha256 of the file's name, so that a file never changes sides."""
    if part == "all":
        return list(files)
    return [file for file in files if _is_train(file.name) == (part == "train")]


def find_images(*places: str | Path) -> list[ImageFile]:
    """The image files of one or several places, each once: place by place, and within a place in the order of its names or of its list.

    Args:
        places: folders, searched through all their folders, hidden ones left out, shards (.tar) in them read too; image files; lists:
            .csv with a column `path`, .txt with a path a line, relative to the list's own folder; shards: .tar archives, the images
            in them. `PLACE@train` and `PLACE@eval` give a part of a place, see `split_by_hash`.

    Raises:
        V2LError: a place is missing or holds no image file, a list has no paths, or an archive is damaged.

    Example:
        >>> find_images("photographs@train", "more.csv", "shard-000.tar")
    """
    return list(dict.fromkeys(file for place in places for file in _images_of(place)))


def _images_of(place: str | Path) -> list[ImageFile]:
    source, part = _part_of(place)
    if not source.exists():
        raise V2LError(f"there is no folder or file {place}", PLACES, f"ls {source.parent}")
    found = split_by_hash(_read_place(source), part)
    if not found:
        raise V2LError(
            f"{place} holds no image file", "files ending in " + ", ".join(READ_SUFFIXES), "another place"
        )
    return found


def _part_of(place: str | Path) -> tuple[Path, Part]:
    """`FOLDER@train` ──► the folder and its part; a file or folder that really has such a name is itself."""
    head, _, tail = str(place).rpartition("@")
    if head and tail in ("train", "eval") and not Path(place).exists():
        return Path(head), tail
    return Path(place), "all"


def _read_place(source: Path) -> list[ImageFile]:
    if source.is_dir():
        return _below(source)
    readers = {SHARD_SUFFIX: _read_shard, ".csv": _read_csv, ".txt": _read_lines}
    reader = readers.get(source.suffix.lower())
    return list(reader(source)) if reader else [source]


def _below(folder: Path) -> list[ImageFile]:
    suffixes = (*READ_SUFFIXES, SHARD_SUFFIX)
    found = [path for path in folder.rglob("*") if path.suffix.lower() in suffixes and path.is_file()]
    visible = [
        path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    return [file for path in sorted(visible, key=Path.as_posix) for file in _read_place(path)]


def _read_shard(archive: Path) -> Iterator[TarMember]:
    """The images of a tar archive, in its order; every header is read, no image is.

    Raises:
        V2LError: the archive is compressed, truncated, or no tar archive.
    """
    try:
        with tarfile.open(archive, "r:") as tar:
            for member in tar:
                if member.isreg() and not member.issparse() and _is_visible_image(PurePosixPath(member.name)):
                    yield TarMember(archive, member.name, member.offset_data, member.size)
            tar.fileobj.seek(tar.offset)
            if tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):  # tarfile takes a bad header for the end
                raise tarfile.ReadError(f"no header at byte {tar.offset:,}")
    except (tarfile.TarError, EOFError) as error:
        got = f"{archive} is damaged, or no plain tar archive ({error})"
        raise V2LError(got, "an uncompressed .tar (webdataset), whole", f"tar -tf {archive}") from error


def _is_visible_image(name: PurePosixPath) -> bool:
    return name.suffix.lower() in READ_SUFFIXES and not any(part.startswith(".") for part in name.parts)


def _read_csv(source: Path) -> list[Path]:
    with source.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        rows = csv.DictReader(file)
        columns = rows.fieldnames or []
        if "path" not in columns:
            found = f"has the columns {', '.join(columns)}" if columns else "is empty"
            raise V2LError(f"{source} {found}", "a first line with a column named path", "path,label")
        return _listed(source, (row["path"] or "" for row in rows))


def _read_lines(source: Path) -> list[Path]:
    return _listed(source, source.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines())


def _listed(source: Path, paths: Iterable[str]) -> list[Path]:
    return [source.parent / path.strip() for path in paths if path.strip()]


def _is_train(name: str) -> bool:
    return int(hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest(), 16) % 100 < TRAIN_SHARE
