"""steps of long work ──► progress bars with the remaining time, on standard error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class ProgressBars(Protocol):
    """A `v2l.progress.Progress` that may also show a figure beside the bar."""

    def __call__(self, step: str, done: int, total: int, detail: str = "") -> None:
        """Show `done` of `total` items of `step`, and `detail` beside the bar."""
        ...


@contextmanager
def progress() -> Iterator[ProgressBars]:
    """One bar for each step; it appears with the first report of the step."""
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

    def report(step: str, done: int, total: int, detail: str = "") -> None:
        if not tasks:
            bars.start()
        if step not in tasks:
            tasks[step] = bars.add_task(step, total=total, detail=detail)
        bars.update(tasks[step], completed=done, total=total, detail=detail)

    try:
        yield report
    finally:
        if tasks:  # no bar was started when the command fails before its first step
            bars.stop()
