"""encoded images ──► rows of tokens: the one function that every engine calls.

Threads decode and resize the next images while the tokenizer encodes. The forward passes always take the same
number of images (`forward_batch`), the last ones padded, in the order of the shard. So the rows do not depend
on the engine, the number of workers or the number of images in memory: a kernel for another batch may add its
numbers in another order, which changes the last bit of a float, and sometimes an id.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from v2l.engines.engine import cores
from v2l.engines.local import WORKERS
from v2l.errors import V2LError
from v2l.images import EncodedImage, read_image
from v2l.tokenization.plan import Settings
from v2l.tokenization.samples import Refused, Sample
from v2l.tokenization.schema import to_row
from v2l.tokenizers.contract import ImageTokenizer

READERS = 2  # threads that read and decode; a worker on a GPU has its share of the machine's cores


@dataclass(frozen=True)
class Prepared:
    """One image, ready for the tokenizer.

    Attributes:
        sample: where it comes from.
        size: (height, width) of the whole image in pixels.
        views: what `ImageTokenizer.prepare` gave.
    """

    sample: Sample
    size: tuple[int, int]
    views: tuple[Tensor, ...]


Row = dict[str, Any]


def tokenize_samples(
    tokenizer: ImageTokenizer, found: Iterable[Sample | Refused], settings: Settings, in_memory: int
) -> Iterator[Row | Refused]:
    """Each image's row, or the reason why it has none, in order except that reasons may come earlier.

    Args:
        tokenizer: any member of the family.
        found: images, and those that the reader refused.
        settings: precision and size of the forward passes.
        in_memory: decoded images that wait for the tokenizer at most; the result does not depend on it.
    """
    group: list[Prepared] = []
    with ThreadPoolExecutor(readers(tokenizer.device)) as pool:
        for prepared in _prepared(tokenizer, found, max(in_memory, 1), pool):
            if isinstance(prepared, Refused):
                yield prepared
                continue
            group.append(prepared)
            if len(group) == settings.forward_batch:
                yield from _encode(tokenizer, group, settings)
                group = []
    if group:
        yield from _encode(tokenizer, group, settings)


def readers(device: torch.device) -> int:
    """Threads that read and decode for one worker."""
    if device.type != "cuda":
        return READERS
    return max(READERS, cores() // int(os.environ.get(WORKERS, 1)))


def _prepared(
    tokenizer: ImageTokenizer, found: Iterable[Sample | Refused], in_memory: int, pool: ThreadPoolExecutor
) -> Iterator[Prepared | Refused]:
    """Decode ahead of the caller, in order."""
    needed_pixels = tokenizer.needed_pixels
    coming: deque[Refused | Future[Prepared | Refused]] = deque()
    for sample in found:
        coming.append(
            sample if isinstance(sample, Refused) else pool.submit(_prepare, tokenizer, sample, needed_pixels)
        )
        if len(coming) > in_memory:
            yield _result(coming.popleft())
    while coming:
        yield _result(coming.popleft())


def _result(coming: Refused | Future[Prepared | Refused]) -> Prepared | Refused:
    return coming if isinstance(coming, Refused) else coming.result()


def _prepare(tokenizer: ImageTokenizer, sample: Sample, needed_pixels: int | None) -> Prepared | Refused:
    try:
        content = sample.load()
    except V2LError as error:
        return Refused(sample.id, "missing", str(error))
    try:
        image, size = read_image(EncodedImage(sample.id, content), needed_pixels)
        return Prepared(sample, size, tokenizer.prepare(image))
    except V2LError as error:
        return Refused(sample.id, "unreadable", str(error))


def _encode(tokenizer: ImageTokenizer, group: list[Prepared], settings: Settings) -> list[Row | Refused]:
    """One forward pass; when it fails, one for each image, so that only the bad one is lost."""
    views = [prepared.views for prepared in group]
    padding = [views[-1]] * (settings.forward_batch - len(views))
    on_half = settings.precision == "bfloat16"
    try:
        with torch.inference_mode(), torch.autocast(tokenizer.device.type, torch.bfloat16, enabled=on_half):
            encoded = tokenizer.encode_prepared(views + padding, settings.vectors)
    except V2LError as error:
        if len(group) == 1:
            return [Refused(group[0].sample.id, "not tokenized", str(error))]
        return [row for prepared in group for row in _encode(tokenizer, [prepared], settings)]
    return [
        to_row(prepared.sample.id, prepared.sample.caption, prepared.size, tokens)
        for prepared, tokens in zip(group, encoded, strict=False)  # what is padding has no row
    ]
