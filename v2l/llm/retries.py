"""a request that fails for a while ──► the same request again, after a wait that grows or that is prescribed.

Source of Retry-After: RFC 9110, section 10.2.3 (seconds, or a date).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

from v2l.errors import V2LError

FIRST_WAIT = 1.0  # seconds; every further wait is twice as long
LONGEST_WAIT = 30.0  # seconds between two tries when the server names no time
LONGEST_RETRY_AFTER = 120.0  # seconds; a server that asks for more ends the run
AGAIN = "the same command, later; with --log, v2l evaluate goes on where it stopped"

Answer = TypeVar("Answer")


class RequestFailedError(V2LError):
    """A request that may succeed when it is sent again.

    Args:
        got: what went wrong.
        allowed: what would have been accepted.
        run: what to type when every try has failed.
        retry_after: seconds that the server asks to wait; None when it does not say.
    """

    def __init__(self, got: str, allowed: str = "", run: str = "", retry_after: float | None = None) -> None:
        super().__init__(got, allowed, run)
        self.retry_after = retry_after


@dataclass(frozen=True)
class RetryPolicy:
    """How often and how fast a request is sent again.

    Attributes:
        retries: tries after the first one.
        note: takes a line before every wait.
        sleep: waits so many seconds.
    """

    retries: int
    note: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep

    def run(self, send: Callable[[], Answer]) -> Answer:
        """Send a request until it succeeds.

        Raises:
            V2LError: it fails for good, the tries are used up, or the server asks for too long a wait.
        """
        for number in range(1, self.retries + 1):
            try:
                return send()
            except RequestFailedError as error:
                wait = self._wait(number, error)
                self.note(f"v2l: {error.got}; try {number + 1} of {self.retries + 1} in {wait:,.0f} s")
                self.sleep(wait)
        try:
            return send()
        except RequestFailedError as error:
            tries = f", {self.retries + 1} times" if self.retries else ""
            raise V2LError(f"{error.got}{tries}", error.allowed, error.run) from error

    def _wait(self, number: int, error: RequestFailedError) -> float:
        """Seconds before the try after the `number`-th one."""
        asked = error.retry_after
        if asked is None:
            return min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (number - 1))
        if asked > LONGEST_RETRY_AFTER:
            got = f"{error.got}, and the server asks to wait {asked:,.0f} s"
            raise V2LError(got, f"a wait of at most {LONGEST_RETRY_AFTER:.0f} s", AGAIN) from error
        return asked


def parse_retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """The value of a Retry-After header ──► seconds to wait, 0 or more; None when it is missing or malformed.

    Args:
        header: seconds, or an HTTP date.
        now: the time that a date is compared with; None is the clock's.
    """
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            date = parsedate_to_datetime(header)
        except ValueError:
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (date - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
