"""jobs of many requests ──► batches on one worker thread; too many waiting jobs are refused.

A job whose client went away leaves the queue at once, with all that it holds. The thread takes all jobs that
wait, up to the size of a batch, and never waits for more: a lone request is not delayed, and under load
batches fill by themselves.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from v2l.server.errors import ApiError
from v2l.server.metrics import Metrics

Item = TypeVar("Item")
Result = TypeVar("Result")
LONGEST_RETRY = 60  # seconds


@dataclass(eq=False)  # each is itself: items may be tensors
class Job(Generic[Item, Result]):
    """One item, and where its result goes."""

    item: Item
    future: Future[Result] = field(default_factory=Future)


class WorkQueue(Generic[Item, Result]):
    """One worker thread with a bounded queue.

    Args:
        name: for metrics, errors and the thread.
        work: a batch of items ──► their results in the same order; a result that is an exception fails its
            own job alone.
        limit: jobs that may wait.
        metrics: counts waiting jobs, the size of batches and seconds.
        batch_size: items that are worked on together.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[Item]], Sequence[Result | Exception]],
        limit: int,
        metrics: Metrics,
        batch_size: int = 1,
    ) -> None:
        self.name, self._work, self._limit, self._metrics = name, work, limit, metrics
        self._batch_size = batch_size
        self._jobs: deque[Job[Item, Result]] = deque()
        self._changed = threading.Condition()  # held while the jobs are looked at
        self._closed = False
        self._seconds_a_job = 0.1
        metrics.watch_queue(name, lambda: len(self._jobs))
        self._thread = threading.Thread(target=self._loop, name=f"v2l-{name}", daemon=True)
        self._thread.start()

    async def run(self, item: Item) -> Result:
        """The result of one item.

        Raises:
            ApiError: 429, too many jobs wait; 503, the queue is closed.
        """
        job: Job[Item, Result] = Job(item)
        with self._changed:
            if self._closed:
                raise ApiError(503, "the server is stopping", retry_after=1)
            if len(self._jobs) >= self._limit:
                raise ApiError(
                    429,
                    f"the server is busy: {len(self._jobs)} jobs wait for the {self.name}",
                    retry_after=self.retry_after(),
                )
            self._jobs.append(job)
            self._changed.notify()
        try:
            return await asyncio.wrap_future(job.future)
        except asyncio.CancelledError:
            with self._changed, suppress(ValueError):  # it runs already
                self._jobs.remove(job)
            raise

    def retry_after(self) -> int:
        """Seconds until the jobs that wait now are done, 1 or more."""
        seconds = math.ceil(len(self._jobs) * self._seconds_a_job)
        return max(1, min(LONGEST_RETRY, seconds))

    def close(self) -> None:
        """End the thread after the jobs that wait."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _loop(self) -> None:
        while batch := self._next_batch():
            running = [job for job in batch if job.future.set_running_or_notify_cancel()]
            if running:
                self._run(running)

    def _next_batch(self) -> list[Job[Item, Result]]:
        """The jobs that wait, one at least; empty when the queue is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closed)
            return [self._jobs.popleft() for _ in range(min(self._batch_size, len(self._jobs)))]

    def _run(self, jobs: Sequence[Job[Item, Result]]) -> None:
        started = time.perf_counter()
        results: Sequence[Result | Exception]
        try:
            results = self._work([job.item for job in jobs])
        except Exception as error:
            results = [error] * len(jobs)
        seconds = time.perf_counter() - started
        self._seconds_a_job += 0.2 * (seconds / len(jobs) - self._seconds_a_job)
        self._metrics.observe_batch(self.name, len(jobs), seconds)
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Exception):
                job.future.set_exception(result)
            else:
                job.future.set_result(result)
