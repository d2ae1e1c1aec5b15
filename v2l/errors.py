"""a failure that the user can repair ──► one clear line.

Every failure that a user can repair (a file, a setting, a missing model) is raised as `V2LError`; the command
line prints it without a traceback and exits with 1. Anything else is a bug and keeps its traceback.
"""

import traceback


class V2LError(Exception):
    """What came, what is allowed, and what to type next, in one line.

    Args:
        got: what came, with the value itself ("mask.png is 64 × 64").
        allowed: what would have been accepted ("the image's size, 128 × 128").
        run: the next command or action, as the user would type it.
    """

    def __init__(self, got: str, allowed: str = "", run: str = "") -> None:
        self.got, self.allowed, self.run = got, allowed, run
        parts = [got, f"allowed: {allowed}" if allowed else "", f"try: {run}" if run else ""]
        # One line always: what came may hold line breaks (a model's message, a file name).
        super().__init__(" ".join("; ".join(part for part in parts if part).split()))

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.got, self.allowed, self.run)  # survives a worker process


def raised_at(error: BaseException) -> str:
    """Type and places of an exception in one line, without its message: that may hold what a visitor sent."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return f"{type(error).__name__} at " + " < ".join(
        f"{frame.filename.rpartition('/')[2]}:{frame.lineno}" for frame in reversed(frames)
    )
