"""one billion images ──► hours, by a simulation of the scheduler with stragglers and lost workers.

    python benchmarks/scale_simulation.py [--images 1e9] [--speed 500] [--workers 256] [--loss 0.01] [--seeds 3]

Discrete events: a free worker takes the next shard; a worker is lost at random (`--loss` of them an hour), its
shard goes back to the queue, and another worker takes its place after `--replacement` seconds, which loads the
model first. A share of the workers is slow. What is printed is assumed, save `--speed`, which is measured by
benchmarks/tokenization.py on a CPU and benchmarks/gpu.sh on a GPU.
"""

from __future__ import annotations

import argparse
import heapq
import random
import statistics
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """Assumptions.

    Attributes:
        images: of the whole run.
        shard: images of one shard.
        workers: that work at the same time.
        speed: images a second of a normal worker.
        loss: share of the workers that is lost in an hour.
        stragglers: share of the workers that is slow.
        slowness: how many times longer a slow worker takes.
        replacement: seconds until a lost worker is replaced.
        startup: seconds to load the model.
        spread: standard deviation of the logarithm of a shard's time.
    """

    images: float = 1e9
    shard: int = 10_000
    workers: int = 256
    speed: float = 500.0
    loss: float = 0.01
    stragglers: float = 0.05
    slowness: float = 3.0
    replacement: float = 300.0
    startup: float = 30.0
    spread: float = 0.1

    @property
    def ideal(self) -> float:
        """Seconds without stragglers, losses and start-up."""
        return self.images / self.speed / self.workers


@dataclass(frozen=True)
class Outcome:
    """Of one simulated run.

    Attributes:
        seconds: until the last shard is done.
        lost_workers: number of workers that were lost.
        wasted: worker-seconds of shards that were computed in part, as a share of all work.
        done: how often each shard was finished; 1 for every shard when nothing is lost or done twice.
    """

    seconds: float
    lost_workers: int
    wasted: float
    done: list[int]


def simulate(cluster: Cluster, seed: int) -> Outcome:
    """Run the events in the order of their times."""
    chance = random.Random(seed)
    shards = -(-int(cluster.images) // cluster.shard)
    queue, done = deque(range(shards)), [0] * shards
    events: list[tuple[float, int, float]] = []  # (time at which a worker is free, worker, its slowness)
    for worker in range(cluster.workers):
        heapq.heappush(events, (cluster.startup, worker, _slowness(cluster, chance)))
    returned: list[tuple[float, int]] = []  # (time of the loss, shard)
    end = lost = 0
    wasted = worked = 0.0
    while events:
        time, worker, slowness = heapq.heappop(events)
        while returned and returned[0][0] <= time:
            queue.appendleft(heapq.heappop(returned)[1])
        if not queue:
            if not returned:
                continue
            heapq.heappush(events, (returned[0][0], worker, slowness))  # idle until a shard comes back
            continue
        shard = queue.popleft()
        needed = cluster.shard / cluster.speed * slowness * chance.lognormvariate(0, cluster.spread)
        life = chance.expovariate(cluster.loss / 3600) if cluster.loss else needed + 1
        if life < needed:
            lost, wasted, worked = lost + 1, wasted + life, worked + life
            heapq.heappush(returned, (time + life, shard))
            fresh = time + life + cluster.replacement + cluster.startup
            heapq.heappush(events, (fresh, worker, _slowness(cluster, chance)))
            continue
        worked += needed
        done[shard] += 1
        end = max(end, time + needed)
        heapq.heappush(events, (time + needed, worker, slowness))
    return Outcome(end, lost, wasted / worked, done)


def _slowness(cluster: Cluster, chance: random.Random) -> float:
    return cluster.slowness if chance.random() < cluster.stragglers else 1.0


def main() -> None:
    """Print a line for each size of the shards."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=float, default=1e9)
    parser.add_argument("--speed", type=float, default=500.0, help="images a second of one worker")
    parser.add_argument("--workers", type=int, default=256)
    parser.add_argument("--loss", type=float, default=0.01, help="share of the workers lost in an hour")
    parser.add_argument("--stragglers", type=float, default=0.05)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    print(
        f"{given.images:,.0f} images, {given.workers} workers of {given.speed:g} images/s, {given.seeds} seeds; assumed:"
    )
    print(
        f"{given.loss:.0%} of the workers lost an hour, {given.stragglers:.0%} three times as slow, all else in the code"
    )
    for shard in (1_000, 10_000, 100_000, 1_000_000):
        cluster = Cluster(given.images, shard, given.workers, given.speed, given.loss, given.stragglers)
        outcomes = [simulate(cluster, seed) for seed in range(given.seeds)]
        assert all(set(outcome.done) == {1} for outcome in outcomes), "a shard was lost or finished twice"
        hours = sorted(outcome.seconds / 3600 for outcome in outcomes)
        print(
            f"shards of {shard:9,}: {statistics.mean(hours):6.2f} h ({hours[0]:.2f} to {hours[-1]:.2f}), "
            f"{statistics.mean(hours) * 3600 / cluster.ideal:.3f} of the ideal {cluster.ideal / 3600:.2f} h; "
            f"lost workers {statistics.mean(outcome.lost_workers for outcome in outcomes):.1f}, "
            f"work done again {statistics.mean(outcome.wasted for outcome in outcomes):.3%}"
        )


if __name__ == "__main__":
    main()
