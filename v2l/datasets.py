"""folders of images ──► crops for training, and few-shot episodes (support, query).

Everything drawn is a function of its seed: episode i is the same whether ten or a thousand are drawn, a crop
depends on (seed, epoch, index) alone. Files that cannot be read are skipped and listed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from v2l.archives import LeftOut, is_archive, unpack_command
from v2l.errors import V2LError
from v2l.files import write_file
from v2l.images import Skipped, load_image, load_images, resize_and_crop, resize_in_two_steps, resize_shorter
from v2l.sources import ImageFile, Part, find_images, split_by_hash


def class_name(folder: str) -> str:
    """A class as the LLM reads it: the folder's name with _ as a space."""
    return folder.replace("_", " ")


@dataclass(frozen=True)
class ClassFolder:
    """A folder of class folders.

    Attributes:
        root: the folder.
        classes: the images of each class, sorted; the class is its folder's name, with _ read as a space.
    """

    root: Path
    classes: Mapping[str, tuple[Path, ...]]

    @classmethod
    def load(cls, folder: str | Path, part: Part = "all") -> ClassFolder:
        """Read the names (not the images) below `folder`, or only those of one part of the split.

        Raises:
            V2LError: there is no such folder, no class folder with an image in it, or two whose names read
                the same.
        """
        root = check_class_folder(folder)
        classes: dict[str, list[Path]] = {}
        for path in split_by_hash(_paths_below(root), part):
            inside = path.relative_to(root).parts
            if len(inside) > 1:
                classes.setdefault(inside[0], []).append(path)
        if not classes:
            raise V2LError(
                f"{root} holds no class folder with images",
                "one folder of images for each class",
                f"v2l words {root}/*",
            )
        return cls(
            root, {name: tuple(classes[folder]) for name, folder in sorted(_names(classes, root).items())}
        )

    def only(self, names: Iterable[str]) -> ClassFolder:
        """The same folder with some of its classes."""
        return ClassFolder(self.root, {name: self.classes[name] for name in names})


def check_class_folder(folder: str | Path) -> Path:
    """The folder itself, as a path.

    Raises:
        V2LError: it is missing, or a file; of an archive, with the command that unpacks it.
    """
    root, allowed = Path(folder), "a folder with one folder of images for each class"
    if root.is_dir():
        return root
    if not root.exists():
        raise V2LError(f"there is no folder {root}", allowed)
    if not is_archive(root):
        raise V2LError(f"{root} is a file", allowed)
    raise V2LError(
        f"{root} is an archive, and class folders are not read from archives", allowed, unpack_command(root)
    )


class LabelledImage(NamedTuple):
    """An image file and the name of its class; a query may have none."""

    path: Path
    label: str | None


@dataclass(frozen=True)
class Episode:
    """One few-shot question: N · K labelled images, and one to be named.

    Attributes:
        support: in the order of the prompt.
        query: never one of the support, nor a copy of one.
    """

    support: tuple[LabelledImage, ...]
    query: LabelledImage

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes to choose from, in the order of the support."""
        return tuple(dict.fromkeys(image.label for image in self.support if image.label is not None))


def draw_episodes(
    folder: ClassFolder,
    n_ways: int,
    k_shots: int,
    episodes: int,
    seed: int = 0,
    skipped: Skipped | None = None,
) -> list[Episode]:
    """Draw episodes: N classes, K support images of each in mixed order, and a query from one of them.

    No episode has a file and a copy of it.

    Raises:
        V2LError: fewer than 2 ways, 1 shot or 1 episode; too few classes; a class with fewer than K + 1
            readable images that are no copies.
    """
    for name, value, least in (("ways", n_ways, 2), ("shots", k_shots, 1), ("episodes", episodes, 1)):
        if value < least:
            raise V2LError(f"got {value} {name}", f"at least {least}", f"{least} {name}")
    if n_ways > len(folder.classes):
        found = f"{folder.root} has {len(folder.classes)} class(es)"
        raise V2LError(
            f"{found} for {n_ways}-way episodes",
            f"2 to {len(folder.classes)} ways",
            f"--n-ways {len(folder.classes)}",
        )
    readable = _Readable(skipped if skipped is not None else Skipped())
    draw = _Draw(folder, n_ways, k_shots, readable, cache(_digest))
    return [draw.episode(Random(f"{seed}/{index}")) for index in range(episodes)]


def has_support_and_query(folder: str | Path) -> bool:
    """True for a folder of episodes: support/CLASS/IMAGE with query/IMAGE or query/CLASS/IMAGE."""
    return all((Path(folder) / name).is_dir() for name in ("support", "query"))


def read_support_and_query(folder: str | Path, skipped: Skipped | None = None) -> list[Episode]:
    """One episode for each image in query/, with all of support/; outside a class folder its label is None.

    Raises:
        V2LError: a part is missing, fewer than two classes, a query of a class without support, or a query
            that is also a support.
    """
    readable = _Readable(skipped if skipped is not None else Skipped())
    support = ClassFolder.load(Path(folder) / "support")
    shots = tuple(
        LabelledImage(path, name)
        for name, paths in support.classes.items()
        for path in paths
        if readable(path)
    )
    labels = {shot.label for shot in shots if shot.label is not None}
    if len(labels) < 2:
        raise V2LError(
            f"{support.root} has {len(labels)} class(es) with a readable image",
            "at least 2, each a folder of images",
        )
    queries = [
        _query(path, Path(folder) / "query")
        for path in _paths_below(Path(folder) / "query")
        if readable(path)
    ]
    known = {_digest(shot.path) for shot in shots}
    for query in queries:
        if query.label is not None and query.label not in labels:
            raise V2LError(
                f"{query.path} is of class {query.label!r}",
                ", ".join(sorted(labels)),
                "add support images of that class",
            )
        if _digest(query.path) in known:
            raise V2LError(f"{query.path} is also a support image", "queries that are not in the support")
    if not queries:
        raise V2LError(f"{folder}/query holds no readable image", "at least one image to be named")
    return [Episode(shots, query) for query in queries]


def save_episodes(episodes: Iterable[Episode], target: str | Path, root: Path) -> None:
    """Write episodes as JSON lines, with paths relative to `root`.

    Raises:
        V2LError: the disk is full or cannot be written.
    """
    with write_file(target) as temporary:
        temporary.write_text("".join(_to_line(episode, root) for episode in episodes), encoding="utf-8")


def load_episodes(source: str | Path, root: Path) -> list[Episode]:
    """Read episodes that `save_episodes` wrote; `root` is where their images are now.

    Raises:
        V2LError: there is no such file, a line is no episode, or an image is missing.
    """
    source = Path(source)
    if not source.is_file():
        raise V2LError(f"there is no file {source}", "episodes as JSON lines")
    lines = source.read_text(encoding="utf-8", errors="replace").split("\n")
    return [
        _from_line(line, root, f"{source}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]


@dataclass(frozen=True)
class CropSettings:
    """How training sees an image.

    Attributes:
        size: side S of the square crop, in pixels.
        shorter: the shorter side is first resized to a length drawn from this range (inclusive); None: to
            `size`.
        random: crop anywhere and flip every other time; otherwise the centre as it is.
        seed: of all that is drawn.
        two_step: the centre is made as `resize_in_two_steps` does.
    """

    size: int
    shorter: tuple[int, int] | None = None
    random: bool = True
    seed: int = 0
    two_step: bool = False


class ImageDataset(Dataset[Tensor]):
    """Image files ──► crops (3, S, S) float32 in [0, 1].

    A file that cannot be read gives the next readable one instead, so that batches keep their size; `skipped`
    lists such files. An image that is smaller than a crop is enlarged; `enlarged` counts such images. Both,
    and the epoch, are in shared memory, so they hold for worker processes too, also persistent ones.
    """

    def __init__(self, paths: Sequence[ImageFile], settings: CropSettings) -> None:
        if not paths:
            raise V2LError("got no images", "at least one image file")
        self.paths, self.settings = list(paths), settings
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()
        self._unreadable = torch.zeros(len(paths), dtype=torch.bool).share_memory_()
        self._small = torch.zeros(len(paths), dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        """The crop at `index` in this epoch.

        Raises:
            V2LError: not one of the files can be read.
        """
        return self.crop(int(self._epoch), index)

    def crop(self, epoch: int, index: int) -> Tensor:
        """The crop at `index` in any epoch, whichever is set.

        Raises:
            V2LError: not one of the files can be read.
        """
        random = Random(f"{self.settings.seed}/{epoch}/{index}")
        image = self._readable_from(index)
        if min(image.shape[-2:]) < self.settings.size:
            self._small[index] = True
        return self._crop(image, random)

    def set_epoch(self, epoch: int) -> None:
        """Draw other crops: the same ones whenever this epoch is set."""
        self._epoch.fill_(epoch)

    @property
    def skipped(self) -> Skipped:
        """The unreadable files met so far, by any process, with their reasons."""
        skipped = Skipped()
        for _ in load_images(
            (self.paths[index] for index in self._unreadable.nonzero().flatten().tolist()), skipped
        ):
            pass
        return skipped

    @property
    def enlarged(self) -> int:
        """How many images met so far, by any process, were smaller than a crop."""
        return int(self._small.sum())

    def _readable_from(self, index: int) -> Tensor:
        for step in range(len(self)):
            place = (index + step) % len(self)
            if self._unreadable[place]:
                continue
            try:
                return load_image(self.paths[place])
            except V2LError:
                self._unreadable[place] = True
        raise V2LError(f"none of {len(self)} files could be read; the first: {self.skipped.files[0][1]}")

    def _crop(self, image: Tensor, random: Random) -> Tensor:
        size = self.settings.size
        if not self.settings.random:
            return (
                resize_in_two_steps(image[None], size)[0]
                if self.settings.two_step
                else resize_and_crop(image, size)
            )
        image = resize_shorter(
            image, random.randint(*self.settings.shorter) if self.settings.shorter else size
        )
        top, left = (random.randint(0, side - size) for side in image.shape[-2:])
        crop = image[:, top : top + size, left : left + size]
        return crop.flip(-1) if random.random() < 0.5 else crop.contiguous()


class _Readable:
    """Whether a file is an image, each read once; the others are listed."""

    def __init__(self, skipped: Skipped) -> None:
        self.skipped = skipped
        self._known: dict[Path, bool] = {}

    def __call__(self, path: Path) -> bool:
        if path not in self._known:
            self._known[path] = any(True for _ in load_images([path], self.skipped))
        return self._known[path]


@dataclass(frozen=True)
class _Draw:
    folder: ClassFolder
    n_ways: int
    k_shots: int
    readable: _Readable
    digest: Callable[[Path], bytes]

    def episode(self, random: Random) -> Episode:
        names = random.sample(list(self.folder.classes), self.n_ways)
        asked = random.choice(names)
        shots: list[LabelledImage] = []
        taken: set[bytes] = set()
        for name in names:
            *support, query = self._images(name, random, taken)
            shots += (LabelledImage(path, name) for path in support)
            if name == asked:
                question = LabelledImage(query, name)
        random.shuffle(shots)
        return Episode(tuple(shots), question)

    def _images(self, name: str, random: Random, taken: set[bytes]) -> list[Path]:
        """K + 1 readable images of a class, in random order; adds their digests to those that are taken."""
        paths = self.folder.classes[name]
        found = list(islice(self._not_taken(random.sample(paths, len(paths)), taken), self.k_shots + 1))
        if len(found) <= self.k_shots:
            got = f"class {name!r} of {self.folder.root} has {len(found)} readable image(s) without copies"
            raise V2LError(
                got,
                f"at least {self.k_shots + 1} for {self.k_shots}-shot episodes",
                "--k-shots with a smaller number",
            )
        return found

    def _not_taken(self, paths: Iterable[Path], taken: set[bytes]) -> Iterator[Path]:
        for path in filter(self.readable, paths):
            if self.digest(path) not in taken:
                taken.add(self.digest(path))
                yield path


def _names(folders: Iterable[str], root: Path) -> dict[str, str]:
    """Class ──► its folder.

    Raises:
        V2LError: two folders are one class to a reader.
    """
    found: dict[str, str] = {}
    for folder in folders:
        other = found.setdefault(class_name(folder), folder)
        if other != folder:
            got = f"the classes {other!r} and {folder!r} of {root} read the same"
            raise V2LError(
                got,
                "names that differ when _ is a space",
                f"one folder for both, or mv {root}/{folder} to another name",
            )
    return found


def _paths_below(folder: Path) -> list[Path]:
    """The image files of a folder. Images of archives in it are left out, which is said in a
    `LeftOutWarning`, because class folders are not read from archives.
    """
    paths: list[Path] = []
    left_out = LeftOut()
    for file in find_images(folder):
        if isinstance(file, Path):
            paths.append(file)
        else:
            left_out.add("image(s), because class folders are not read from archives", str(file))
    left_out.warn()
    return paths


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _query(path: Path, folder: Path) -> LabelledImage:
    inside = path.relative_to(folder).parts
    return LabelledImage(path, class_name(inside[0]) if len(inside) > 1 else None)


def _to_line(episode: Episode, root: Path) -> str:
    support, query = (
        [_relative(image, root) for image in images] for images in (episode.support, [episode.query])
    )
    return json.dumps({"support": support, "query": query[0]}, ensure_ascii=False) + "\n"


def _relative(image: LabelledImage, root: Path) -> dict[str, str | None]:
    return {"path": image.path.relative_to(root).as_posix(), "label": image.label}


def _from_line(line: str, root: Path, where: str) -> Episode:
    try:
        entry = json.loads(line)
        images = [
            LabelledImage(root / image["path"], image["label"])
            for image in [*entry["support"], entry["query"]]
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise V2LError(
            f"{where} is no episode ({error!r})", 'one JSON object a line with "support" and "query"'
        ) from error
    for image in images:
        if not image.path.is_file():
            raise V2LError(f"{where} names {image.path}, which is missing", f"images below {root}")
    return Episode(tuple(images[:-1]), images[-1])
