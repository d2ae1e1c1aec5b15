"""an exception ──► one line of the log: its type and its places, without its message.

A message may hold what a visitor typed or sent. Gradio prints whole tracebacks with it; `log_in_one_line`
puts such a line in their place.
"""

from __future__ import annotations

import logging
import sys
import traceback
from types import SimpleNamespace

import gradio.queueing
import gradio.routes

log = logging.getLogger("v2l.server")


def places(error: BaseException) -> str:
    """Type and places of an exception."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return f"{type(error).__name__} at " + " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames)
    )


def print_exc() -> None:
    """Log the exception that is handled now."""
    error = sys.exc_info()[1]
    if error is not None:
        log.error("the page failed: %s", places(error))


def log_in_one_line() -> None:
    """Let gradio's queue and routes print no traceback; it is the only thing that they use the module for."""
    for module in (gradio.queueing, gradio.routes):
        setattr(module, "traceback", SimpleNamespace(print_exc=print_exc))  # noqa: B010  # mypy forbids it
