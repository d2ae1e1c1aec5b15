"""a failure ──► one line and an exit code, or None for a bug, which keeps its traceback."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from v2l.errors import V2LError

STOPPED = 130  # a shell's exit code for Ctrl-C: 128 + SIGINT
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EMFILE})

SERVE = frozenset({"fastapi", "gradio", "httpx", "prometheus_client", "starlette", "uvicorn"})


@dataclass(frozen=True)
class Failure:
    """The line for standard error, and the exit code for the shell."""

    line: str
    exit_code: int = 1


def explain(error: BaseException) -> Failure | None:
    """The line for a failure that the user can repair; None for a bug."""
    if isinstance(error, V2LError):
        return Failure(str(error))
    if isinstance(error, KeyboardInterrupt):
        return Failure("stopped; nothing half-written was left", STOPPED)
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return Failure(f"the disk is full{named(error)}; try: free some space, or write to another disk")
    if isinstance(error, OSError) and error.errno in REFUSED:
        return Failure(
            f"the system refused: {error.strerror}{named(error)}; try: another place, or its permissions"
        )
    if isinstance(error, ModuleNotFoundError) and error.name in SERVE:
        return Failure(f"the package {error.name} is missing; try: pip install '.[serve]' in the checkout")
    # torch's OutOfMemoryError is recognized by its name, because importing torch takes a second.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return Failure("out of memory; try: a smaller batch, fewer images at once, or --device cpu")
    return None


def named(error: OSError) -> str:
    """The file of an error in brackets; empty when the error has none."""
    return f" ({error.filename})" if error.filename else ""
