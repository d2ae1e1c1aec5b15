"""vectors in an LLM's input-embedding space ──► a piece of a prompt, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from v2l.errors import V2LError


class Array(Protocol):
    """A torch tensor or a NumPy array."""

    @property
    def shape(self) -> Sequence[int]:
        """The length of each axis."""


@dataclass(frozen=True, eq=False)
class Embeddings:
    """N vectors that stand in a prompt as N tokens without an id ("soft tokens").

    Two pieces are equal when they have the same name and the same values. The hash depends on name and shape
    alone, because training changes the values in place.

    Attributes:
        values: (N, width) floating point, N >= 1; width is that of the LLM's input embeddings.
        name: what the vectors describe, for people.

    Raises:
        V2LError: the values have no two axes, or N is 0.
    """

    values: Array
    name: str = "image"

    def __post_init__(self) -> None:
        shape = getattr(self.values, "shape", None)
        if shape is None or len(shape) != 2 or not shape[0]:
            got = type(self.values).__name__ if shape is None else f"shape {tuple(shape)}"
            raise V2LError(f"got {self.name} embeddings of {got}", "an array of shape (N, width), N >= 1")

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Embeddings):
            return NotImplemented
        return self.name == other.name and equal_values(self.values, other.values)

    def __hash__(self) -> int:
        return hash((self.name, tuple(self.values.shape)))

    def __str__(self) -> str:
        return f"<{len(self)} {self.name} embedding{'s' * (len(self) > 1)}>"


def equal_values(one: Array, other: Array) -> bool:
    """True for the same array, and for two arrays of equal values on one device."""
    if one is other:
        return True
    devices = [getattr(array, "device", None) for array in (one, other)]
    if devices[0] != devices[1] or tuple(one.shape) != tuple(other.shape):
        return False
    elementwise: Any = one == other  # an array of bool
    return bool(elementwise.all())
