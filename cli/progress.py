"""steps of long work ──► bars with the time left, on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Tell(Protocol):
    """What long work is given to report with."""

    def __call__(self, step: str, done: int, total: int, detail: str = "") -> None:
        """Take the step's name, how many items are done, how many there are, and a figure to show beside."""
        ...


@contextmanager
def progress() -> Iterator[Tell]:
    """One bar a step, from the first time that the step is told of."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[detail]}"),
    )
    bars = Progress(*columns, console=Console(stderr=True), redirect_stdout=False, redirect_stderr=False)
    tasks: dict[str, TaskID] = {}

    def tell(step: str, done: int, total: int, detail: str = "") -> None:
        if not tasks:
            bars.start()
        if step not in tasks:
            tasks[step] = bars.add_task(step, total=total, detail=detail)
        bars.update(tasks[step], completed=done, total=total, detail=detail)

    try:
        yield tell
    finally:
        if tasks:  # a refusal before the first step stays one line
            bars.stop()
