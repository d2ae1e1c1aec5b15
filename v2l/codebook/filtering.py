"""candidates + images ──► how often each candidate is among an image's five nearest; the seldom ones go.

Source: V2L Tokenizer, arXiv 2403.07874, section 3.1 (the top-5 rule).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from v2l.codebook.shards import Shards
from v2l.encoders.base import JointEncoder
from v2l.errors import V2LError
from v2l.images import load_image

TOP = 5  # candidates that an image votes for
BATCH = 16  # images a forward pass
CHUNK = 512  # images a product: bounds memory at 512 × V scores


def image_features(encoder: JointEncoder, paths: Sequence[Path], shards: Shards) -> tuple[Tensor, list[Path]]:
    """Encode images once; files that are no readable images are left out and listed.

    Returns:
        (n, D) float32, unit length, one row a readable image; and the files that are none.

    Raises:
        V2LError: not one image is readable.
    """
    versions = [(path, _version(path)) for path in paths]
    parts = shards.run(versions, [encoder.fingerprint], lambda part: _encode_files(encoder, [path for path, _ in part]))
    features = torch.cat([torch.empty(0, encoder.dim), *parts])
    readable = features.isfinite().all(dim=-1)
    if not readable.any():
        raise V2LError(f"none of {len(paths)} files is a readable image", "a folder with photographs", "another folder")
    return features[readable], [path for path, good in zip(paths, readable.tolist(), strict=True) if not good]


def count_top_candidates(features: Tensor, candidates: Tensor, top: int = TOP) -> Tensor:
    """Count, per candidate, the images that have it among their nearest.

    Args:
        features: (n, D) float32 image vectors, unit length.
        candidates: (V, D) float32 word vectors, unit length.
        top: how many candidates an image votes for.

    Returns:
        (V,) int64 counts; they add up to n · top.
    """
    counts = torch.zeros(len(candidates), dtype=torch.int64)
    for chunk in features.split(CHUNK):
        nearest = (chunk @ candidates.T).topk(min(top, len(candidates)), dim=-1).indices  # (chunk, top)
        counts += torch.bincount(nearest.flatten(), minlength=len(candidates))
    return counts


def _version(path: Path) -> tuple[int, int] | None:
    """What changes when a file is replaced under its name: size and time; None when there is no file."""
    stat = path.stat() if path.is_file() else None
    return stat and (stat.st_size, stat.st_mtime_ns)


def _encode_files(encoder: JointEncoder, paths: Sequence[Path]) -> Tensor:
    """(n, D): a row a file, NaN where the file is no readable image, so that every file keeps its place."""
    rows = torch.full((len(paths), encoder.dim), torch.nan)
    for start in range(0, len(paths), BATCH):
        images = {
            start + place: image
            for place, path in enumerate(paths[start : start + BATCH])
            if (image := _prepared(encoder, path)) is not None
        }
        if images:
            rows[list(images)] = encoder.encode_images(torch.stack(list(images.values()))).cpu()
    return rows


def _prepared(encoder: JointEncoder, path: Path) -> Tensor | None:
    try:
        return encoder.prepare(load_image(path))
    except V2LError:
        return None
