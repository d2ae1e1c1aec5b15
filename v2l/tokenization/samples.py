"""one image that can be tried, or the reason why it cannot: what all readers give."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import fsspec

from v2l.errors import V2LError


@dataclass(frozen=True)
class Sample:
    """One image that can be tried.

    Attributes:
        id: its name in the output.
        load: gives its bytes; called in another thread.
        caption: a text that belongs to it.
    """

    id: str
    load: Callable[[], bytes]
    caption: str | None = None


@dataclass(frozen=True)
class Refused:
    """One image, or one file of images, that cannot be read.

    Attributes:
        id: its name.
        reason: one of a few words that can be counted: missing, unreadable, truncated archive, wrong column,
            duplicate id, not tokenized.
        detail: the whole line.
    """

    id: str
    reason: str
    detail: str


Read = Iterator[Sample | Refused]


def content_of(url: str) -> bytes:
    """The bytes of a file.

    Raises:
        V2LError: it cannot be read.
    """
    try:
        with fsspec.open(url, "rb") as file:
            content: bytes = file.read()
            return content
    except FileNotFoundError as error:
        raise V2LError(f"there is no file {url}") from error
    except Exception as error:  # each file system has its own
        raise V2LError(f"cannot read {url} ({error})") from error


def unchanged(content: bytes) -> bytes:
    """Bytes that are in memory already."""
    return content
