"""a failure ──► one line and an exit code; what is no user's to mend keeps its traceback."""

from __future__ import annotations

import errno
from dataclasses import dataclass

from v2l.errors import V2LError

STOPPED = 130  # as a shell reports Ctrl-C
FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
REFUSED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.EMFILE})


@dataclass(frozen=True)
class Failure:
    """What the user reads on standard error, and what the shell gets."""

    line: str
    exit_code: int = 1


def explain(error: BaseException) -> Failure | None:
    """The line for a failure that the user can mend; None for a bug."""
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
    if (
        isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    ):  # torch's, named so that torch need not be imported
        return Failure("out of memory; try: a smaller batch, fewer images at once, or --device cpu")
    return None


def named(error: OSError) -> str:
    """The file that an error is about, when it says so."""
    return f" ({error.filename})" if error.filename else ""
