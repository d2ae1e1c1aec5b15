"""candidates + images ──► how often each candidate is among an image's nearest; the seldom ones go.

Source: V2L Tokenizer, arXiv 2403.07874, section 3.1 (five nearest). Images are encoded once and their vectors kept, so that a new
threshold, and new candidates, cost no forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from v2l.codebook.codebook import Codebook
from v2l.encoders.base import JointEncoder
from v2l.errors import V2LError
from v2l.images import load_image
from v2l.processes import ALONE, World
from v2l.shards import Shards
from v2l.sources import ImageFile, image_version

TOP = 5  # candidates that an image votes for in the paper
BATCH = 16  # images a forward pass
CHUNK = 512  # images a product: bounds memory at 512 × V scores
READERS = 2  # threads that read the next batch while one is encoded


@dataclass(frozen=True)
class Rule:
    """Which candidates stay: those that enough images vote for, and of these the most often seen.

    Attributes:
        min_count: votes that a candidate needs; 0 keeps all.
        keep: at most this many; 0 for no limit.
        keep_share: at most this share of the candidates, in [0, 1]; 0 for no limit.
    """

    min_count: int = 1
    keep: int = 0
    keep_share: float = 0.0

    @classmethod
    def parse(cls, min_count: int, keep: str) -> Self:
        """`--keep` as it is typed: a number ("2000") or a share ("20%").

        Raises:
            V2LError: it is neither.
        """
        digits, share = keep.removesuffix("%"), keep.endswith("%")
        try:
            number = float(digits) / 100 if share else int(digits)
        except ValueError:
            number = -1
        if not 0 < number <= (1 if share else 10**9):
            raise V2LError(
                f"got --keep {keep}",
                "a number of words, or a share of the candidates in per cent",
                "--keep 2000, or --keep 20%",
            )
        return cls(min_count, keep_share=number) if share else cls(min_count, int(number))

    def rows(self, counts: Tensor) -> Tensor:
        """Counts (V,) int64 ──► the rows that stay, ascending; of equal counts the first rows."""
        limits = [limit for limit in (self.keep, round(self.keep_share * len(counts))) if limit]
        most = counts.sort(descending=True, stable=True).indices[: min(limits, default=len(counts))]
        return most[counts[most] >= self.min_count].sort().values


def filter_candidates(candidates: Codebook, rule: Rule) -> Codebook:
    """The candidates that stay, in their order; its facts say by which rule, and how many another threshold would have kept.

    Raises:
        V2LError: none stays.
    """
    counts = torch.tensor([entry.count for entry in candidates.entries])
    seen = {str(least): int((counts >= least).sum()) for least in _thresholds(int(counts.max()))}
    return candidates.select(
        rule.rows(counts), candidates=len(candidates), **vars(rule), seen_by_at_least=seen
    )


def encode_files(encoder: JointEncoder, files: Sequence[ImageFile], shards: Shards) -> list[Tensor]:
    """Encode images once, part by part.

    Returns:
        Parts (n, D) float32, a row a file, in order: unit length, or NaN where the file is no readable image.

    Raises:
        V2LError: the encoder's vectors are no numbers.
    """
    versions = [(file, image_version(file)) for file in files]
    return shards.run(
        versions, [encoder.fingerprint], lambda part: _encode(encoder, [file for file, _ in part])
    )


def unreadable_files(files: Sequence[ImageFile], parts: Sequence[Tensor]) -> list[ImageFile]:
    """The files that `encode_files` could not read.

    Raises:
        V2LError: not one image is readable.
    """
    readable = torch.cat([torch.empty(0, dtype=torch.bool), *map(_is_readable, parts)])
    if not readable.any():
        first = f"; the first: {_complaint(files[0])}" if files else ""
        raise V2LError(
            f"none of {len(files)} files is a readable image{first}",
            "a folder with photographs",
            "another folder",
        )
    return [file for file, good in zip(files, readable.tolist(), strict=True) if not good]


def image_features(
    encoder: JointEncoder, files: Sequence[ImageFile], shards: Shards
) -> tuple[Tensor, list[ImageFile]]:
    """Encode images once; files that are no readable images are left out and listed.

    Returns:
        (n, D) float32, unit length, one row a readable image; and the files that are none.

    Raises:
        V2LError: not one image is readable, or the encoder's vectors are no numbers.
    """
    parts = encode_files(encoder, files, shards)
    unreadable = unreadable_files(files, parts)
    return torch.cat([part[_is_readable(part)] for part in parts]), unreadable


def count_votes(parts: Sequence[Tensor], candidates: Tensor, world: World = ALONE, top: int = TOP) -> Tensor:
    """Count, per candidate, the images that have it among their `top` nearest; each process counts its share of the parts.

    Args:
        parts: what `encode_files` gives.
        candidates: (V, D) float32 word vectors, unit length.
        world: the processes that count.
        top: how many candidates an image votes for.

    Returns:
        (V,) int64 counts over all images, the same in every process and for any number of processes.
    """
    counts = torch.zeros(len(candidates), dtype=torch.int64)
    for part in parts[world.index :: world.count]:
        counts += count_top_candidates(part[_is_readable(part)], candidates, top)
    return world.total(counts)


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


def _thresholds(most: int) -> list[int]:
    """1, 2, 5, 10, 20, 50 … up to `most`."""
    return [
        step * 10**power for power in range(len(str(most))) for step in (1, 2, 5) if step * 10**power <= most
    ]


def _is_readable(part: Tensor) -> Tensor:
    """(n, D) ──► (n,) bool."""
    return part.isfinite().all(dim=-1)


def _encode(encoder: JointEncoder, files: Sequence[ImageFile]) -> Tensor:
    """(n, D): a row a file, NaN where the file is no readable image, so that every file keeps its place."""
    rows = torch.full((len(files), encoder.dim), torch.nan)
    for start, images in _batches(encoder, files):
        places = [start + place for place, image in enumerate(images) if image is not None]
        if not places:
            continue
        vectors = encoder.encode_images(torch.stack([image for image in images if image is not None])).cpu()
        if not vectors.isfinite().all():
            got = f"the encoder {encoder.name} gives NaN or infinity for {files[places[0]]} or one of the {len(places) - 1} images after it"
            raise V2LError(got, "finite numbers", "v2l doctor")
        rows[places] = vectors
    return rows


def _batches(encoder: JointEncoder, files: Sequence[ImageFile]) -> Iterator[tuple[int, list[Tensor | None]]]:
    """The place of each batch's first file, and its images (3, S, S), None where there is none; the next batch is read meanwhile."""
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


def _complaint(file: ImageFile) -> str:
    try:
        load_image(file)
    except V2LError as error:
        return error.got
    return f"{file} can be read now"
