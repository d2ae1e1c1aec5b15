"""items ──► results, by Ray Data: actors that hold the models, on one machine or on a cluster.

Ray starts and replaces actors, keeps each busy with few items at a time (back-pressure), and scales the
cluster. Every node must see the input, the output and the checkpoint under the same names.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

from v2l.engines.work import Event, Work, one_thread
from v2l.errors import V2LError


class WorkActor:
    """One Ray actor: models, and the same function for an item that the local engine calls."""

    def __init__(self, work: Work[Any, Any]) -> None:
        self.work = work

    @cached_property
    def models(self) -> Any:
        """Loaded with the first item, so that a failure is an answer."""
        return self.work.load()

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[bytes]]:
        """Compute the items of one batch.

        A failure that the user can repair is an answer, because Ray would try it again.
        """
        return {"answer": [pickle.dumps(self._answer(pickle.loads(item))) for item in batch["item"]]}

    def _answer(self, item: Any) -> list[Event]:
        counts: list[int] = []
        try:
            with one_thread():
                result = self.work.run(self.models, item, counts.append)
        except V2LError as error:
            return [("failed", error)]
        return [("images", sum(counts)), ("result", result)]


def run_ray(work: Work[Any, Any], items: Sequence[Any], workers: int, gpus: float = 0.0) -> Iterator[Event]:
    """Compute items in `workers` actors of the cluster of RAY_ADDRESS, or of this machine.

    Args:
        work: what the actors need.
        items: what is to be computed.
        workers: actors.
        gpus: GPUs of each actor; with 0 it has one core.

    Yields:
        events for each item, as soon as it is done.

    Raises:
        V2LError: Ray is not installed, the cluster breaks down, or an actor's failure can be repaired.
    """
    data = start_ray()
    rows = [{"item": pickle.dumps(item)} for item in items]
    resources = {"num_gpus": gpus} if gpus else {"num_cpus": 1.0}
    answers = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        WorkActor,
        fn_constructor_args=(work,),
        batch_size=1,
        concurrency=min(workers, len(rows)),
        **resources,
    )
    try:
        for row in answers.iter_rows():
            for event in pickle.loads(row["answer"]):
                if event[0] == "failed":
                    raise event[1]
                yield event
    except V2LError:
        raise
    except Exception as error:
        line = (str(error) or type(error).__name__).splitlines()[0]
        raise V2LError(
            f"Ray stopped ({line})", "a running cluster", "the same command again: what is finished is kept"
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
            f"--engine ray needs Ray ({error})", "--engine local", "pip install 'ray[data]'"
        ) from error
    return ray
