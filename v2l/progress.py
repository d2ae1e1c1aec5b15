"""long work ──► its caller: which step, how many items are done, and how many there are in all."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with the step's name, the number of items that are done, and the number of all items."""
