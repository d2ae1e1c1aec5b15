"""The queue: batches fill under load, too many jobs are refused, nobody waits for a lone job."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from v2l.server.errors import ApiError
from v2l.server.metrics import Metrics
from v2l.server.work_queue import WorkQueue


class Slow:
    """Doubles numbers; the first batch waits until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.started = threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.started.set()
        self.go.wait(10)
        self.batches.append(list(numbers))
        return [ValueError("odd") if number == 13 else 2 * number for number in numbers]


async def started(slow: Slow) -> None:
    await asyncio.to_thread(slow.started.wait, 10)


def test_waiting_jobs_run_together_in_order() -> None:
    async def run() -> None:
        slow = Slow()
        jobs: WorkQueue[int, int] = WorkQueue("doubler", slow, 100, Metrics(), batch_size=4)
        tasks = [asyncio.create_task(jobs.run(0))]
        await started(slow)
        tasks += [asyncio.create_task(jobs.run(number)) for number in range(1, 7)]
        await asyncio.sleep(0)
        slow.go.set()
        assert await asyncio.gather(*tasks) == [0, 2, 4, 6, 8, 10, 12]
        assert slow.batches == [[0], [1, 2, 3, 4], [5, 6]]
        jobs.close()

    asyncio.run(run())


def test_too_many_are_refused_and_one_failure_is_its_own() -> None:
    async def run() -> None:
        slow = Slow()
        jobs: WorkQueue[int, int] = WorkQueue("doubler", slow, 2, Metrics(), batch_size=4)
        first = asyncio.create_task(jobs.run(1))
        await started(slow)
        waiting = [asyncio.create_task(jobs.run(number)) for number in (13, 3)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as refusal:
            await jobs.run(4)
        assert refusal.value.status == 429
        assert 1 <= (refusal.value.retry_after or 0) <= 60
        slow.go.set()
        results = await asyncio.gather(first, *waiting, return_exceptions=True)
        assert results[0] == 2
        assert isinstance(results[1], ValueError)
        assert results[2] == 6
        jobs.close()

    asyncio.run(run())


def test_a_job_whose_client_left_does_not_run() -> None:
    async def run() -> None:
        slow = Slow()
        jobs: WorkQueue[int, int] = WorkQueue("doubler", slow, 9, Metrics())
        first = asyncio.create_task(jobs.run(1))
        await started(slow)
        left, stays = asyncio.create_task(jobs.run(2)), asyncio.create_task(jobs.run(3))
        await asyncio.sleep(0)
        left.cancel()
        await asyncio.sleep(0)
        slow.go.set()
        assert [await first, await stays] == [2, 6]
        assert slow.batches == [[1], [3]]
        jobs.close()

    asyncio.run(run())


def test_jobs_of_clients_that_left_make_room_and_hold_nothing() -> None:
    async def run() -> None:
        slow = Slow()
        jobs: WorkQueue[int, int] = WorkQueue("doubler", slow, 2, Metrics())
        first = asyncio.create_task(jobs.run(1))
        await started(slow)
        left = [asyncio.create_task(jobs.run(number)) for number in (2, 3)]
        await asyncio.sleep(0)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        stays = asyncio.create_task(jobs.run(4))
        await asyncio.sleep(0)
        slow.go.set()
        assert [await first, await stays] == [2, 8]
        jobs.close()
        with pytest.raises(ApiError, match="stopping"):
            await jobs.run(5)

    asyncio.run(run())


def test_what_waits_is_finished_before_the_end() -> None:
    async def run() -> None:
        slow = Slow()
        jobs: WorkQueue[int, int] = WorkQueue("doubler", slow, 9, Metrics(), batch_size=8)
        tasks = [asyncio.create_task(jobs.run(number)) for number in range(3)]
        await asyncio.sleep(0)
        jobs.close()
        slow.go.set()
        assert await asyncio.gather(*tasks) == [0, 2, 4]

    asyncio.run(run())
