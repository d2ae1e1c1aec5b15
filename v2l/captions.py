"""caption files, folders of classes ──► images, each with its captions or with the name of its class.

Read as they are: CSV and JSON lines with an image and a caption, COCO's captions_*.json, and the tables of
Flickr8k and Flickr30k (captions.txt, results.csv, *.token). Images that are missing and captions that are
empty are counted and listed.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from v2l.errors import V2LError

CAPTION_SUFFIXES = (".csv", ".json", ".jsonl", ".token", ".txt", ".tsv")
IMAGE_KEYS = ("image", "file_name", "image_name", "filename", "path")
CAPTION_KEYS = ("caption", "captions", "comment", "text", "sentence")
LISTED = 5  # missing files that a report names
ALLOWED = (
    "CSV or JSON lines with image and caption, COCO's captions_*.json, Flickr's captions.txt or results.csv"
)


@dataclass(frozen=True)
class CaptionedImage:
    """One image and what is said about it.

    Attributes:
        file: the image.
        captions: sentences of people; empty when only the class is known.
        label: name of its class; empty when there are captions.
    """

    file: Path
    captions: tuple[str, ...] = ()
    label: str = ""


@dataclass
class LeftOutCaptions:
    """What a caption file names and cannot be used.

    Attributes:
        missing: image files that do not exist.
        empty: images with an empty caption, once for each such caption.
    """

    missing: list[Path] = field(default_factory=list)
    empty: list[Path] = field(default_factory=list)

    def report(self) -> str:
        """A line for each kind with the first files; empty when all could be used."""
        lines = []
        for files, what in ((self.missing, "missing image(s)"), (self.empty, "empty caption(s)")):
            if files:
                more = f" and {len(files) - LISTED} more" if len(files) > LISTED else ""
                lines.append(f"{len(files)} {what}: {', '.join(map(str, files[:LISTED]))}{more}")
        return "\n".join(lines)


def is_caption_file(place: str | Path) -> bool:
    """Whether a place is a file of captions by its name."""
    return Path(place).suffix.lower() in CAPTION_SUFFIXES


def read_captions(
    source: str | Path, images: str | Path | None = None, left_out: LeftOutCaptions | None = None
) -> list[CaptionedImage]:
    """The images of a caption file with all their captions, in the order of the file.

    Args:
        source: the file.
        images: folder of the images; None is the file's own folder.
        left_out: collects missing images and empty captions.

    Raises:
        V2LError: there is no such file, it has none of the known forms, or not one image with a caption is
            there.
    """
    path = Path(source)
    if not path.is_file():
        raise V2LError(f"there is no file {path}", ALLOWED)
    left_out = LeftOutCaptions() if left_out is None else left_out
    folder = path.parent if images is None else Path(images)
    captions: dict[str, list[str]] = {}
    for name, caption in _pairs(path):
        text = " ".join(caption.split())
        if text:
            captions.setdefault(name, []).append(text)
        else:
            left_out.empty.append(folder / name)
    found = []
    for name, texts in captions.items():
        if (folder / name).is_file():
            found.append(CaptionedImage(folder / name, tuple(texts)))
        else:
            left_out.missing.append(folder / name)
    if not found:
        problems = left_out.report() or "it holds no captions"
        raise V2LError(f"{path} gives no image with a caption: {problems}", ALLOWED, "--images FOLDER")
    return found


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    """The image names and captions of a file, one pair a caption."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise V2LError(f"{path} is no text in UTF-8", ALLOWED) from error
    try:
        if path.suffix.lower() == ".json":
            yield from _of_json(json.loads(text))
        elif path.suffix.lower() == ".jsonl":
            yield from _of_objects(json.loads(line) for line in text.split("\n") if line.strip())
        elif path.suffix.lower() == ".token":
            yield from _of_tokens(text)
        else:
            yield from _of_table(text)
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise V2LError(f"{path} is no caption file ({error!r})", ALLOWED) from error


def _of_json(content: Any) -> Iterator[tuple[str, str]]:
    """COCO's layout: images with ids, annotations with their image_id; or a list of objects."""
    if isinstance(content, list):
        yield from _of_objects(content)
        return
    names = {image["id"]: str(image["file_name"]) for image in content["images"]}
    for annotation in content["annotations"]:
        yield names[annotation["image_id"]], str(annotation["caption"])


def _of_objects(objects: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Objects with an image and one caption or a list of them."""
    for entry in objects:
        name, captions = _value(entry, IMAGE_KEYS), _value(entry, CAPTION_KEYS)
        for caption in captions if isinstance(captions, list) else [captions]:
            yield str(name), str(caption or "")


def _of_tokens(text: str) -> Iterator[tuple[str, str]]:
    """Flickr's *.token: image.jpg#0, a tab, the caption."""
    for line in text.removesuffix("\n").split("\n"):
        name, _, caption = line.partition("\t")
        yield name.rpartition("#")[0], caption


def _of_table(text: str) -> Iterator[tuple[str, str]]:
    """A table with a head; columns are divided by commas, tabs, or "|" as in Flickr30k's results.csv."""
    head = text.partition("\n")[0]
    divider = max(",|\t", key=head.count)
    quoting: Literal[0, 3] = csv.QUOTE_NONE if divider == "|" else csv.QUOTE_MINIMAL
    rows = csv.DictReader(io.StringIO(text), delimiter=divider, quoting=quoting, skipinitialspace=True)
    rows.fieldnames = [str(name).strip() for name in rows.fieldnames or ()]
    for row in rows:
        yield str(_value(row, IMAGE_KEYS) or ""), str(_value(row, CAPTION_KEYS) or "")


def _value(entry: dict[str, Any], keys: Sequence[str]) -> Any:
    """The value of the first key that an object has.

    Raises:
        KeyError: it has none of them.
    """
    for key in keys:
        if key in entry:
            return entry[key]
    raise KeyError(f"none of {', '.join(keys)}")
