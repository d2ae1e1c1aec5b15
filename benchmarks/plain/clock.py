"""work ──► its result and the seconds that it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """Run `work` once."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start
