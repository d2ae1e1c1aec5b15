"""an exception in gradio ──► one line of the log, where gradio prints a whole traceback with its message."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import gradio.queueing
import gradio.routes

from v2l.errors import raised_at

log = logging.getLogger("v2l.server")


def print_exc() -> None:
    """Log the exception that is handled now."""
    error = sys.exc_info()[1]
    if error is not None:
        log.error("the page failed: %s", raised_at(error))


def log_in_one_line() -> None:
    """Let gradio's queue and routes print no traceback; it is the only thing that they use the module for."""
    for module in (gradio.queueing, gradio.routes):
        setattr(module, "traceback", SimpleNamespace(print_exc=print_exc))  # noqa: B010  # mypy forbids it
