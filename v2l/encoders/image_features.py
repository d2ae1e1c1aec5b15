"""image files + joint encoder ──► one unit vector per image, computed once and kept on the disk.

The codebook filter, training, and evaluation use the same vectors. Because they are kept, a new filter
threshold or new candidates need no further forward pass of the encoder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Tensor

from v2l.encoders.base import JointEncoder
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.shards import Shards
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
        V2LError: no image is readable, or the encoder's vectors contain NaN or infinity.
    """
    parts = encode_files(encoder, files, shards)
    unreadable = unreadable_files(files, parts)
    return torch.cat([part[is_readable(part)] for part in parts]), unreadable


def encode_files(encoder: JointEncoder, files: Sequence[ImageFile], shards: Shards) -> list[Tensor]:
    """Encode images, one shard after another.

    Returns:
        Tensors (n, D) float32 with one row per file, in order: of unit length, or NaN where the file is not a
        readable image.

    Raises:
        V2LError: the encoder's vectors contain NaN or infinity.
    """
    # The version (size and time of change) is part of the shard's name: a replaced file is encoded again.
    versions = [(file, image_version(file)) for file in files]
    return shards.run(
        versions, [encoder.fingerprint], lambda part: _encode(encoder, [file for file, _ in part])
    )


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
            return [readers.submit(_prepared, encoder, file) for file in files[start : start + BATCH]]

        coming = read(0)
        for start in range(0, len(files), BATCH):
            images, coming = coming, read(start + BATCH)
            yield start, [image.result() for image in images]


def _prepared(encoder: JointEncoder, file: ImageFile) -> Tensor | None:
    try:
        return encoder.prepare(load_image(file))
    except V2LError:
        return None


def _reason(file: ImageFile) -> str:
    """Why a file cannot be read."""
    try:
        load_image(file)
    except V2LError as error:
        return error.got
    return f"{file} can be read now"
