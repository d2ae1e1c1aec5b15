"""class folders ──► sets of images with a question and its answer, as JSON lines and images, drawn by a seed.

Three tasks. common: images that share a class, among others. difference: a photograph before and after an
object of a class was pasted in or taken out. story: images of different classes in order. Such sets stand in
for MmLINK (SAM, arXiv 2408.12867), whose data are not public.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor

from v2l.checkpoint import read_manifest, write_directory, write_manifest
from v2l.datasets import ClassFolder
from v2l.errors import V2LError
from v2l.files import write_text
from v2l.images import load_image, resize, resize_shorter, save_image
from v2l.progress import Progress, silent
from v2l.sources import image_bytes

KIND, SCHEMA = "image-sets", 1
LINES, IMAGES = "sets.jsonl", "images"
TASKS = ("common", "difference", "story")
CHANGES = ("added", "removed")
SIDE = 256  # pixels of the shorter side of photographs with a pasted object
OBJECT_SHARE = (0.3, 0.5)  # range of an object's side, as a share of that
SOFT_EDGE = 0.15  # share of the object over which its edge fades


@dataclass(frozen=True)
class SetSettings:
    """How many sets are made.

    Attributes:
        groups: of the task common.
        sharing: images of a group that share a class.
        others: images of other classes in a group, each of another one.
        pairs: of the task difference.
        sequences: of the task story.
        length: images of a sequence.
        seed: of everything that is drawn.
    """

    groups: int = 200
    sharing: int = 3
    others: int = 1
    pairs: int = 200
    sequences: int = 200
    length: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.groups, self.pairs, self.sequences, self.others) < 0 or not self.total:
            got = f"got {self.groups} groups, {self.pairs} pairs, {self.sequences} sequences"
            raise V2LError(got, "0 of each and more, 1 in all", "--groups 100")
        if self.sharing < 2 or self.length < 2:
            raise V2LError(
                f"got {self.sharing} images that share a class, sequences of {self.length}", "2 and more"
            )

    @property
    def total(self) -> int:
        """Sets in all."""
        return self.groups + self.pairs + self.sequences


@dataclass(frozen=True)
class ImageSet:
    """Images that belong together.

    Attributes:
        task: one of `TASKS`.
        images: files, in order.
        labels: the answer. common: the shared class; difference: the class of the object; story: the class of
            each image.
        change: difference: added or removed; else empty.
        shown: the classes of what is in each image, that of the photograph first; empty if unknown.
    """

    task: str
    images: tuple[Path, ...]
    labels: tuple[str, ...]
    change: str = ""
    shown: tuple[tuple[str, ...], ...] = ()


def make_sets(source: ClassFolder, folder: Path, settings: SetSettings, progress: Progress = silent) -> None:
    """Draw sets, and write them with their images; equal settings give equal bytes.

    Raises:
        V2LError: too few classes or images, a drawn image cannot be read, or the disk is full.
    """
    check_classes(source, settings)
    with write_directory(folder) as draft:
        (draft / IMAGES).mkdir()
        writer = SetWriter(source, draft, settings)
        lines = []
        for number, line in enumerate(writer.lines(), start=1):
            lines.append(json.dumps(line, ensure_ascii=False))
            progress("sets", number, settings.total)
        write_text(draft / LINES, "\n".join(lines) + "\n")
        write_manifest(draft, {"kind": KIND, "schema": SCHEMA, "settings": vars(settings)})


def check_classes(source: ClassFolder, settings: SetSettings) -> None:
    """Refuse a folder from which the sets cannot be drawn.

    Raises:
        V2LError: as said.
    """
    needed = max(settings.others + 1, settings.length, 2)
    able = able_classes(source, settings.sharing)
    if len(source.classes) < needed or (settings.groups and not able):
        found = f"{len(source.classes)} classes, {len(able)} of them with {settings.sharing} images"
        raise V2LError(
            f"{source.root} has {found}",
            f"{needed} classes, one of them with {settings.sharing} images",
            "fewer --others, --sharing or --length",
        )


def able_classes(source: ClassFolder, images: int) -> list[str]:
    """The classes with at least so many images."""
    return [name for name, files in source.classes.items() if len(files) >= images]


@dataclass(frozen=True)
class SetWriter:
    """Writes the images of sets into a folder.

    Attributes:
        source: classes of images.
        folder: where `IMAGES` is.
        settings: what is drawn.
    """

    source: ClassFolder
    folder: Path
    settings: SetSettings

    def lines(self) -> Iterator[dict[str, Any]]:
        """One line of JSON for each set; the n-th set is a function of the seed and of n."""
        settings, number = self.settings, 0
        makers = [
            (self.group, settings.groups),
            (self.pair, settings.pairs),
            (self.sequence, settings.sequences),
        ]
        for task, (make, count) in zip(TASKS, makers, strict=True):
            for place in range(count):
                yield {"task": task, **make(f"{number:06d}", Random(f"{settings.seed}/{task}/{place}"))}
                number += 1

    def group(self, name: str, random: Random) -> dict[str, Any]:
        """Images that share a class, among others, in random order."""
        label = random.choice(able_classes(self.source, self.settings.sharing))
        drawn = [(label, file) for file in random.sample(self.source.classes[label], self.settings.sharing)]
        others = random.sample(
            [other for other in self.source.classes if other != label], self.settings.others
        )
        drawn += [(other, random.choice(self.source.classes[other])) for other in others]
        random.shuffle(drawn)
        return {**self.copied(name, drawn), "labels": [label]}

    def sequence(self, name: str, random: Random) -> dict[str, Any]:
        """Images of different classes in order."""
        labels = random.sample(list(self.source.classes), self.settings.length)
        drawn = [(label, random.choice(self.source.classes[label])) for label in labels]
        return {**self.copied(name, drawn), "labels": labels}

    def pair(self, name: str, random: Random) -> dict[str, Any]:
        """A photograph without and with an object of another class."""
        label, behind = random.sample(list(self.source.classes), 2)
        object_file, scene_file = (random.choice(self.source.classes[one]) for one in (label, behind))
        scene = resize_shorter(load_image(scene_file), SIDE)
        box = draw_box((scene.shape[-2], scene.shape[-1]), random)
        pasted = paste(scene, load_image(object_file), box)
        change = random.choice(CHANGES)
        files = []
        for place, image in enumerate((scene, pasted) if change == "added" else (pasted, scene)):
            files.append(f"{IMAGES}/{name}-{place}.png")
            save_image(image, self.folder / files[-1])
        provenance = {
            "scene": self.origin(behind, scene_file),
            "object": self.origin(label, object_file),
            "box": list(box),
        }
        return {"images": files, "labels": [label], "change": change, "provenance": provenance}

    def copied(self, name: str, drawn: Sequence[tuple[str, Path]]) -> dict[str, Any]:
        """Copies of images as they are, with where they come from."""
        files = []
        for place, (_, file) in enumerate(drawn):
            files.append(f"{IMAGES}/{name}-{place}{file.suffix.lower()}")
            load_image(file)  # an unreadable image must not get into a set
            (self.folder / files[-1]).write_bytes(image_bytes(file))
        return {"images": files, "provenance": [self.origin(label, file) for label, file in drawn]}

    def origin(self, label: str, file: Path) -> dict[str, str]:
        """Class and file of an image, below the root of the class folders."""
        return {"class": label, "file": file.relative_to(self.source.root).as_posix()}


def draw_box(size: tuple[int, int], random: Random) -> tuple[int, int, int, int]:
    """A square (left, top, right, bottom) in pixels inside an image of (H, W)."""
    side = round(min(size) * random.uniform(*OBJECT_SHARE))
    top, left = random.randrange(size[0] - side + 1), random.randrange(size[1] - side + 1)
    return left, top, left + side, top + side


def paste(scene: Tensor, object_image: Tensor, box: Sequence[int]) -> Tensor:
    """An image (3, H, W) with another one in a box, resized to it, as an ellipse with a soft edge."""
    left, top, right, bottom = box
    height, width = bottom - top, right - left
    rows, columns = (torch.linspace(-1, 1, length) for length in (height, width))
    radius = (rows[:, None].square() + columns[None].square()).sqrt()
    opacity = ((1 - radius) / SOFT_EDGE).clamp(0, 1)  # (height, width)
    pasted = scene.clone()
    under = pasted[:, top:bottom, left:right]
    pasted[:, top:bottom, left:right] = under + opacity * (resize(object_image, (height, width)) - under)
    return pasted


def read_sets(folder: Path) -> list[ImageSet]:
    """The sets that `make_sets` wrote.

    Raises:
        V2LError: the folder is missing, damaged or of another kind, or a line is no set.
    """
    read_manifest(folder, KIND, SCHEMA)
    lines = (folder / LINES).read_text(encoding="utf-8").split("\n")
    return [
        _parse(folder, json.loads(line), number) for number, line in enumerate(lines, start=1) if line.strip()
    ]


def _parse(folder: Path, line: Mapping[str, Any], number: int) -> ImageSet:
    task, labels = str(line.get("task")), tuple(map(str, line.get("labels", ())))
    if task not in TASKS or not labels or not line.get("images"):
        raise V2LError(f"{folder / LINES}, line {number} is no set of images", "task, images and labels")
    change = str(line.get("change", ""))
    images = tuple(folder / name for name in line["images"])
    return ImageSet(task, images, labels, change, shown_classes(line["provenance"], change))


def shown_classes(provenance: Any, change: str) -> tuple[tuple[str, ...], ...]:
    """Where the images of a set come from, as `make_sets` wrote it ──► the classes of what is in each."""
    if not change:
        return tuple((str(origin["class"]),) for origin in provenance)
    scene, pasted = str(provenance["scene"]["class"]), str(provenance["object"]["class"])
    without, with_object = (scene,), (scene, pasted)
    return (without, with_object) if change == "added" else (with_object, without)
