"""long work ──► reports of how far it is: one signature for the whole project."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as `progress(step, done, total)` after each finished portion of a step.

Arguments: `step`, the name of the step, for people; `done`, the number of finished items; `total`, the number
of all items. The last call of a step has `done == total`. The command line passes bars (`v2l.cli.progress`);
library calls are `silent` by default.
"""


def silent(step: str, done: int, total: int) -> None:
    """Report nothing."""
