"""image files + joint encoder ──► the features of each image's patches, computed once and kept on the disk.

Training of an adapter reads them again and again. Kept on the disk and memory-mapped, they cost no forward
pass of the encoder and no memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from v2l.encoders.base import JointEncoder
from v2l.encoders.image_features import prepared, readable_rows
from v2l.errors import V2LError
from v2l.shards import Shards
from v2l.sources import ImageFile, image_version

BATCH = 8  # images per forward pass
SHARD = 128  # images in one file


def patch_features(
    encoder: JointEncoder, files: Sequence[ImageFile], shards: Shards
) -> tuple[Tensor, list[ImageFile]]:
    """Encode the patches of images; files that are no readable images are left out and listed.

    Returns:
        (n, h, w, C) float16, memory-mapped, one row per readable image, in order; and the unreadable files.

    Raises:
        V2LError: no image is readable, the system refused to read one, the encoder gives NaN or infinity, or
            the disk is full.
    """
    versions = [(file, image_version(file)) for file in files]
    metadata = [encoder.fingerprint, "patch features"]
    parts = shards.run(versions, metadata, lambda part: _encode(encoder, [file for file, _ in part]))
    return readable_rows(files, parts, shards.folder)


def _encode(encoder: JointEncoder, files: Sequence[ImageFile]) -> Tensor:
    """(n, h, w, C) float16; NaN keeps the place of a file that is not a readable image."""
    found: dict[int, Tensor] = {}
    for start in range(0, len(files), BATCH):
        images = {
            place: prepared(encoder, files[place]) for place in range(start, min(len(files), start + BATCH))
        }
        readable = {place: image for place, image in images.items() if image is not None}
        if readable:
            features = encoder.patch_features(torch.stack(list(readable.values()))).cpu()
            if not features.isfinite().all():
                raise V2LError(
                    f"the encoder {encoder.name} gives NaN or infinity for patches of "
                    f"{files[start]} or one of the images after it",
                    "finite numbers",
                    "v2l doctor",
                )
            found |= dict(zip(readable, features.half(), strict=True))
    shape = next(iter(found.values())).shape if found else (1, 1, 1)
    rows = torch.full((len(files), *shape), torch.nan, dtype=torch.float16)
    for place, features in found.items():
        rows[place] = features
    return rows
