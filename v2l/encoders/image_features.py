"""image files + joint encoder ──► one unit vector per image, computed once and kept on the disk.

The codebook filter, training, and evaluation use the same vectors. Because they are kept, a new filter
threshold or new candidates need no further forward pass of the encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from v2l.encoders import load_encoder
from v2l.encoders.base import JointEncoder
from v2l.engines.engine import Engine, lost_workers
from v2l.engines.work import Report
from v2l.errors import V2LError
from v2l.images import image_if_readable, load_image
from v2l.mapped import on_disk
from v2l.shards import Shards, store
from v2l.sources import ImageFile, image_version

BATCH = 16  # images per forward pass
READERS = 2  # threads that read the next batch while the current one is encoded


def image_features(
    encoder: JointEncoder, files: Sequence[ImageFile], shards: Shards
) -> tuple[Tensor, list[ImageFile]]:
    """Encode images, and list the files that are not readable images.

    Returns:
        (n, D) float32, unit length, one row per readable image, in order; and the unreadable files.

    Raises:
        V2LError: no image is readable, the system refused to read one, or the encoder's vectors contain NaN
            or infinity.
    """
    parts = encode_files(encoder, files, shards)
    unreadable = unreadable_files(files, parts)
    return torch.cat([part[is_readable(part)] for part in parts]), unreadable


@dataclass(frozen=True)
class EncodingWork:
    """Encoding by the workers of an engine; an item is the path of a shard and its files.

    Attributes:
        encoder: its name; each worker loads it.
        fingerprint: of the encoder that the workers must have.
        device: of each worker, as in `choose_device`.
    """

    encoder: str
    fingerprint: str
    device: str = "auto"

    def load(self) -> JointEncoder:
        """The encoder.

        Raises:
            V2LError: it cannot be loaded, or is another one under the same name.
        """
        encoder = load_encoder(self.encoder, self.device)
        if encoder.fingerprint != self.fingerprint:
            raise V2LError(
                f"a worker's encoder {self.encoder} has the fingerprint {encoder.fingerprint}",
                f"{self.fingerprint}, as here",
                "the same files on all machines",
            )
        return encoder

    def run(
        self, models: JointEncoder, item: tuple[Path, list[ImageFile]], report: Report
    ) -> tuple[Path, Tensor]:
        """The path of a shard and its rows (n, D), as in `encode_files`."""
        path, files = item
        rows = _encode(models, files)
        report(len(files))
        return path, rows


def encode_files(
    encoder: JointEncoder, files: Sequence[ImageFile], shards: Shards, engine: Engine | None = None
) -> list[Tensor]:
    """Encode images, one shard after another, or many at once by the workers of an engine.

    Args:
        encoder: frozen; the workers of an engine load it by its name.
        files: the images.
        shards: where the vectors are kept. Workers send their vectors, so they need not see this folder.
        engine: computes the missing shards; None: this process, or those of a launcher such as torchrun.

    Returns:
        Tensors (n, D) float32 with one row per file, in order: of unit length, or NaN where the file is not a
        readable image.

    Raises:
        V2LError: the encoder's vectors contain NaN or infinity, the system refused to read an image, or
            workers died again and again.
    """
    # The version (size and time of change) is part of the shard's name: a replaced file is encoded again.
    versions = [(file, image_version(file)) for file in files]
    metadata = [encoder.fingerprint]
    if engine is not None:
        missing = [(path, [file for file, _ in part]) for path, part in shards.missing(versions, metadata)]
        _encode_on(engine, EncodingWork(encoder.name, encoder.fingerprint, engine.device), missing, shards)
    return shards.run(versions, metadata, lambda part: _encode(encoder, [file for file, _ in part]))


def _encode_on(
    engine: Engine, work: EncodingWork, missing: list[tuple[Path, list[ImageFile]]], shards: Shards
) -> None:
    """Compute and store shards by the workers of an engine.

    Raises:
        V2LError: as the work does, or workers died again and again.
    """
    done, total = 0, sum(len(files) for _, files in missing)
    for kind, value in engine.run(work, missing):
        if kind == "images":
            done += value
            shards.progress(shards.step, done, total)
        elif kind == "result":
            store(*value)
        else:
            raise lost_workers(f"{len(value[1])} images, the first is {value[1][0]}")


def unreadable_files(files: Sequence[ImageFile], parts: Sequence[Tensor]) -> list[ImageFile]:
    """The files that `encode_files` could not read.

    Raises:
        V2LError: no image is readable.
    """
    readable = torch.cat([torch.empty(0, dtype=torch.bool), *map(is_readable, parts)])
    if not readable.any():
        first = f"; the first: {_reason(files[0])}" if files else ""
        raise V2LError(
            f"none of {len(files)} files is a readable image{first}",
            "a folder with photographs",
            "another folder",
        )
    return [file for file, good in zip(files, readable.tolist(), strict=True) if not good]


def readable_rows(
    files: Sequence[ImageFile], parts: Sequence[Tensor], folder: Path
) -> tuple[Tensor, list[ImageFile]]:
    """The rows of the readable images of all shards, and the files that could not be read.

    Args:
        files: all images.
        parts: (n, …) float16 each, one row per file in order; NaN where a file is not a readable image.
        folder: where the rows are kept while they are used.

    Returns:
        (n, …) float16, memory-mapped, one row per readable image, in order; and the unreadable files.

    Raises:
        V2LError: no image is readable, or the disk is full.
    """
    flat = [part.flatten(1) for part in parts]
    unreadable = unreadable_files(files, flat)
    readable = (part[is_readable(rows)] for part, rows in zip(parts, flat, strict=True))
    whole = (part for part in readable if len(part))  # without a readable image, its shape may differ
    return on_disk(whole, folder, torch.float16), unreadable


def is_readable(part: Tensor) -> Tensor:
    """(n, D) rows of `encode_files` ──► (n,) bool: False for rows of NaN, whose files are unreadable."""
    return part.isfinite().all(dim=-1)


def _encode(encoder: JointEncoder, files: Sequence[ImageFile]) -> Tensor:
    """(n, D): one row per file; NaN keeps the place of a file that is not a readable image."""
    rows = torch.full((len(files), encoder.dim), torch.nan)
    for start, images in _batches(encoder, files):
        places = [start + place for place, image in enumerate(images) if image is not None]
        if not places:
            continue
        vectors = encoder.encode_images(torch.stack([image for image in images if image is not None])).cpu()
        if not vectors.isfinite().all():
            raise V2LError(
                f"the encoder {encoder.name} gives NaN or infinity for {files[places[0]]} "
                f"or one of the {len(places) - 1} images after it",
                "finite numbers",
                "v2l doctor",
            )
        rows[places] = vectors
    return rows


def _batches(encoder: JointEncoder, files: Sequence[ImageFile]) -> Iterator[tuple[int, list[Tensor | None]]]:
    """Yield (index of the first file, images (3, S, S)) of each batch.

    An image is None if its file is not readable.

    While the caller encodes one batch, threads read the next.
    """
    with ThreadPoolExecutor(READERS) as readers:

        def read(start: int) -> list[Future[Tensor | None]]:
            return [readers.submit(prepared, encoder, file) for file in files[start : start + BATCH]]

        coming = read(0)
        for start in range(0, len(files), BATCH):
            images, coming = coming, read(start + BATCH)
            yield start, [image.result() for image in images]


def prepared(encoder: JointEncoder, file: ImageFile) -> Tensor | None:
    """(3, S, S): the image as the encoder sees it; None if the file is not a readable image.

    Raises:
        V2LError: the system refused to read it, or memory ran out; so the file may be a readable image.
    """
    image = image_if_readable(file)
    return None if image is None else encoder.prepare(image)


def _reason(file: ImageFile) -> str:
    """Why a file cannot be read."""
    try:
        load_image(file)
    except V2LError as error:
        return error.got
    return f"{file} can be read now"
