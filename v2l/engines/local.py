"""items ──► results, by processes of this machine.

Each worker is a process with its own models. It gets one item at a time through a pipe. A worker that dies is
replaced and its item is computed again; workers end when the main process dies.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from v2l.engines.work import Event, Work, one_thread
from v2l.errors import V2LError

TRIES = 3  # an item during which so many workers died is left out
VISIBLE = "CUDA_VISIBLE_DEVICES"
WORKERS = "V2L_WORKERS"  # for each worker: how many processes share the cores of this machine


@dataclass
class Worker:
    """A process, our end of its pipe, and the number of the item that it computes."""

    process: Any
    pipe: Connection
    number: int | None = None


def run_local(work: Work[Any, Any], items: Sequence[Any], workers: int, gpus: int = 0) -> Iterator[Event]:
    """Compute items in `workers` processes; with 0 workers in this process.

    Args:
        work: what the workers need.
        items: what is to be computed.
        workers: number of processes.
        gpus: with two and more, each process sees one of them, in turn.

    Yields:
        an event for each finished portion, each result, and each item that is left out.

    Raises:
        V2LError: as `work` does, or workers die before any of them has its models.
    """
    if workers == 0:
        yield from _run_here(work, items)
        return
    pool = Pool(work, items, workers, gpus)
    try:
        while pool.is_busy:
            yield from pool.step()
    finally:
        pool.stop()


def _run_here(work: Work[Any, Any], items: Sequence[Any]) -> Iterator[Event]:
    with one_thread():
        models = work.load()
    for item in items:
        counts: list[int] = []
        with one_thread():
            result = work.run(models, item, counts.append)
        yield "images", sum(counts)
        yield "result", result


class Pool:
    """The worker processes, and the items that wait for one.

    Args:
        work: what the workers need.
        items: what is to be computed.
        workers: number of processes.
        gpus: among which they are divided.
    """

    def __init__(self, work: Work[Any, Any], items: Sequence[Any], workers: int, gpus: int = 0) -> None:
        self.work, self.items, self.waiting, self.gpus = work, items, deque(range(len(items))), gpus
        self.deaths: Counter[int] = Counter()
        self.has_models = False  # whether any worker ever had them
        self.count = min(workers, len(items))
        self.workers = [self._new(place) for place in range(self.count)]
        for worker in self.workers:
            self._give(worker)

    @property
    def is_busy(self) -> bool:
        """Whether a worker has an item."""
        return any(worker.number is not None for worker in self.workers)

    def step(self) -> Iterator[Event]:
        """Wait for news of at least one worker, and give the next item to those that have none.

        Raises:
            V2LError: a worker's failure can be repaired, or workers die before any of them has its models.
        """
        ready = set(wait([worker.pipe for worker in self.workers if worker.number is not None]))
        for place, worker in enumerate(self.workers):
            if worker.pipe not in ready:
                continue
            event = self._receive(worker)
            if event[0] == "ready":
                self.has_models = True
                continue
            if event[0] == "failed":
                raise event[1]
            if event[0] != "lost" or self._is_lost(place):
                yield event
            if event[0] != "images":
                self._give(self.workers[place])

    def stop(self) -> None:
        """End all processes."""
        for worker in self.workers:
            worker.pipe.close()
        for worker in self.workers:
            if worker.number is None:
                worker.process.join(timeout=2)
            worker.process.kill()
            worker.process.join()

    def _receive(self, worker: Worker) -> Event:
        """The next event of a worker; that of a dead one is its item as lost."""
        try:
            event: Event = worker.pipe.recv()
            return event
        except (EOFError, OSError):
            worker.process.join()
            worker.pipe.close()
            assert worker.number is not None
            return "lost", self.items[worker.number]

    def _is_lost(self, place: int) -> bool:
        """Replace a dead worker; True if its item has used up its tries.

        Raises:
            V2LError: `TRIES` workers died, and none of all had its models.
        """
        number = self.workers[place].number
        assert number is not None
        self.deaths[number] += 1
        if not self.has_models and self.deaths.total() == TRIES:
            raise V2LError(
                f"{TRIES} workers died while they loaded their models",
                "enough memory for the models of each worker",
                "the same command with --workers 1, or with --workers 0, which shows what happens",
            )
        self.workers[place] = self._new(place)
        if self.deaths[number] == TRIES:
            return True
        self.waiting.appendleft(number)
        return False

    def _new(self, place: int) -> Worker:
        """A worker for a place of the list, which decides about its GPU."""
        with variables({WORKERS: str(self.count), **one_visible(place, self.gpus)}):
            return _start(self.work)

    def _give(self, worker: Worker) -> None:
        """Send the next item; none is left at the end."""
        worker.number = self.waiting.popleft() if self.waiting else None
        if worker.number is not None:
            with contextlib.suppress(OSError):  # a worker that is dead: `_receive` finds out
                worker.pipe.send(self.items[worker.number])


def one_visible(place: int, gpus: int) -> dict[str, str]:
    """What shows a process one GPU of several; with fewer than two it sees what this one does."""
    names = (os.environ.get(VISIBLE) or ",".join(map(str, range(gpus)))).split(",")
    return {VISIBLE: names[place % gpus]} if gpus >= 2 else {}


@contextlib.contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """New processes see these variables of the environment; afterwards they are as they were."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _start(work: Work[Any, Any]) -> Worker:
    # A new interpreter, not a copy of this one: copies of a process with threads can hang.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(work, theirs), daemon=True)
    process.start()
    theirs.close()
    return Worker(process, ours)


def serve(work: Work[Any, Any], pipe: Connection) -> None:
    """The main function of a worker: items from the pipe, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's
    threading.Thread(target=_end_with_parent, daemon=True).start()
    report: Callable[[int], None] = lambda count: pipe.send(("images", count))  # noqa: E731
    try:
        with one_thread():
            models = work.load()
            pipe.send(("ready", None))
            while True:
                pipe.send(("result", work.run(models, pipe.recv(), report)))
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
