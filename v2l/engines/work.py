"""What an engine runs: a model that each worker loads once, and a function from an item to its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol, TypeVar

import torch

Item = TypeVar("Item", contravariant=True)
Result = TypeVar("Result", covariant=True)
Report = Callable[[int], None]
"""Called with the number of images that were finished since the last call."""
Event = tuple[Literal["ready", "images", "result", "lost", "failed"], Any]
"""("images", count): so many are finished. ("result", result): of one item. ("lost", item): workers died over
it again and again. ("failed", V2LError): what the user can repair; it ends the work. ("ready", None): a
worker has its models; engines keep this to themselves."""


class Work(Protocol[Item, Result]):
    """Work whose items do not depend on each other.

    Plain data that can be pickled, because it is sent to other processes and machines. Items and results are
    pickled, too. Engines call both functions in `one_thread`.
    """

    def load(self) -> Any:
        """The models that a worker keeps for all its items.

        Raises:
            V2LError: they cannot be loaded.
        """
        ...

    def run(self, models: Any, item: Item, report: Report) -> Result:
        """The result of one item, with the models of `load`.

        Raises:
            V2LError: what the user can repair; all work ends.
        """
        ...


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread in this block; afterwards with as many as before.

    One thread, because a sum over several threads depends on their number. Cores are used by workers.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
