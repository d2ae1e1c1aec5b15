"""shards ──► receipts, by processes of this machine.

Each worker is a process with its own tokenizer. It gets one shard at a time through a pipe. A worker that
dies is replaced and its shard is computed again; workers end when the main process dies.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from v2l.errors import V2LError
from v2l.tokenization.plan import Shard
from v2l.tokenization.worker import Job, tokenize_shard

TRIES = 3  # a shard during which so many workers died is left out
Event = tuple[str, Any]
"""("images", count), ("receipt", receipt), ("dead", shard) or ("failed", V2LError)."""


@dataclass
class Worker:
    """A process, our end of its pipe, and the shard that it computes."""

    process: Any
    pipe: Connection
    shard: Shard | None = None


def run_local(job: Job, shards: Sequence[Shard], workers: int) -> Iterator[Event]:
    """Compute shards in `workers` processes; with 0 workers in this process, for debugging.

    Yields:
        an event for each finished portion, receipt, and shard that is left out.

    Raises:
        V2LError: the output cannot be written, or the tokenizer cannot be loaded.
    """
    if workers == 0:
        yield from _run_here(job, shards)
        return
    pool = Pool(job, shards, workers)
    try:
        while pool.is_busy:
            yield from pool.step()
    finally:
        pool.stop()


def _run_here(job: Job, shards: Sequence[Shard]) -> Iterator[Event]:
    tokenizer = job.load()
    for shard in shards:
        counts: list[int] = []
        receipt = tokenize_shard(job, tokenizer, shard, counts.append)
        yield "images", sum(counts)
        yield "receipt", receipt


class Pool:
    """The worker processes, and the shards that wait for one.

    Args:
        job: what the workers need.
        shards: what is to be computed.
        workers: number of processes.
    """

    def __init__(self, job: Job, shards: Sequence[Shard], workers: int) -> None:
        self.job, self.waiting = job, deque(shards)
        self.deaths: Counter[int] = Counter()
        self.workers = [_start(job) for _ in range(min(workers, len(shards)))]
        for worker in self.workers:
            self._give(worker)

    @property
    def is_busy(self) -> bool:
        """Whether a worker has a shard."""
        return any(worker.shard for worker in self.workers)

    def step(self) -> Iterator[Event]:
        """Wait for news of at least one worker, and give the next shard to those that have none.

        Raises:
            V2LError: a worker's failure can be repaired.
        """
        ready = set(wait([worker.pipe for worker in self.workers if worker.shard]))
        for place, worker in enumerate(self.workers):
            if worker.pipe not in ready:
                continue
            event = _receive(worker)
            if event[0] == "failed":
                raise event[1]
            if event[0] != "dead" or self._is_lost(place):
                yield event
            if event[0] != "images":
                self._give(self.workers[place])

    def stop(self) -> None:
        """End all processes."""
        for worker in self.workers:
            worker.pipe.close()
        for worker in self.workers:
            if worker.shard is None:
                worker.process.join(timeout=2)
            worker.process.kill()
            worker.process.join()

    def _is_lost(self, place: int) -> bool:
        """Replace a dead worker; True if its shard has used up its tries."""
        shard = self.workers[place].shard
        assert shard is not None
        self.workers[place] = _start(self.job)
        self.deaths[shard.number] += 1
        if self.deaths[shard.number] == TRIES:
            return True
        self.waiting.appendleft(shard)
        return False

    def _give(self, worker: Worker) -> None:
        """Send the next shard; none is left at the end."""
        worker.shard = self.waiting.popleft() if self.waiting else None
        if worker.shard is not None:
            with contextlib.suppress(OSError):  # a worker that is dead: `_receive` finds out
                worker.pipe.send(worker.shard)


def _start(job: Job) -> Worker:
    # A new interpreter, not a copy of this one: copies of a process with threads can hang.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(job, theirs), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def _receive(worker: Worker) -> Event:
    try:
        event: Event = worker.pipe.recv()
        return event
    except (EOFError, OSError):
        worker.process.join()
        worker.pipe.close()
        return "dead", worker.shard


def work(job: Job, pipe: Connection) -> None:
    """The main function of a worker: shards from the pipe, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's
    threading.Thread(target=_end_with_parent, daemon=True).start()
    report: Callable[[int], None] = lambda count: pipe.send(("images", count))  # noqa: E731
    try:
        tokenizer = job.load()
        while True:
            pipe.send(("receipt", tokenize_shard(job, tokenizer, pipe.recv(), report)))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
    except V2LError as error:
        pipe.send(("failed", error))


def _end_with_parent() -> None:
    """End this process at once when the main process is gone."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
