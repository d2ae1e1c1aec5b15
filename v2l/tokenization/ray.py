"""shards ──► receipts, by Ray Data: actors that hold the tokenizer, on one machine or on a cluster.

Ray starts and replaces actors, keeps each busy with few shards at a time (back-pressure), and scales the
cluster. Every node must see the input, the output and the checkpoint under the same names.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from v2l.errors import V2LError
from v2l.tokenization.local import Event
from v2l.tokenization.plan import Shard
from v2l.tokenization.worker import Job, tokenize_shard
from v2l.tokenizers.contract import ImageTokenizer


class ShardActor:
    """One Ray actor: a tokenizer, and the same function for a shard that the local engine calls."""

    def __init__(self, job: Job) -> None:
        self.job = job

    @cached_property
    def tokenizer(self) -> ImageTokenizer:
        """Loaded with the first shard, so that a failure is an answer."""
        return self.job.load()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """Compute the shards of one batch.

        A failure that the user can repair is an answer, because Ray would try it again.
        """
        return {"answer": [pickle.dumps(self._answer(pickle.loads(shard))) for shard in batch["shard"]]}

    def _answer(self, shard: Shard) -> Event:
        try:
            return "receipt", tokenize_shard(self.job, self.tokenizer, shard, lambda count: None)
        except V2LError as error:
            return "failed", error


def run_ray(job: Job, shards: Sequence[Shard], workers: int, gpus: float = 0.0) -> Iterator[Event]:
    """Compute shards in `workers` actors of the cluster of RAY_ADDRESS, or of this machine.

    Args:
        job: what the actors need.
        shards: what is to be computed.
        workers: actors.
        gpus: GPUs of each actor; with 0 it has one core.

    Yields:
        an event for each receipt.

    Raises:
        V2LError: Ray is not installed, the cluster breaks down, or an actor's failure can be repaired.
    """
    data = start_ray()
    rows = [{"shard": pickle.dumps(shard)} for shard in shards]
    resources = {"num_gpus": gpus} if gpus else {"num_cpus": 1.0}
    answers = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        ShardActor,
        fn_constructor_args=(job,),
        batch_size=1,
        concurrency=min(workers, len(rows)),
        **resources,
    )
    try:
        for row in answers.iter_rows():
            event: Event = pickle.loads(row["answer"])
            if event[0] == "failed":
                raise event[1]
            yield "images", event[1]["images"]
            yield event
    except V2LError:
        raise
    except Exception as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise V2LError(
            f"Ray stopped ({line})", "a running cluster", "the same command again: finished shards are kept"
        ) from error


def start_ray() -> Any:
    """The module `ray.data`, on the cluster of RAY_ADDRESS or on a new one of this machine.

    Raises:
        V2LError: Ray is not installed.
    """
    ray = import_ray()
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    return ray.data


def import_ray() -> Any:
    """The module `ray`; nothing is started.

    Raises:
        V2LError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise V2LError(
            f"--engine ray needs Ray ({error})", "--engine local", "pip install 'v2l[ray]'"
        ) from error
    return ray
