"""requests, stages and queues ──► figures in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
SIZES = (1, 2, 4, 8, 16)


class Metrics:
    """The figures of one server, in a registry of its own; they hold no text of a request."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "v2l_requests", "Finished requests.", ("route", "status"), registry=self.registry
        )
        self.request_seconds = Histogram(
            "v2l_request_seconds",
            "From head to last byte.",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.stage_seconds = Histogram(
            "v2l_stage_seconds",
            "Decoding, encoding (a batch), generating, waiting for the upstream server.",
            ("stage",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "v2l_batch_size", "Jobs that ran together.", ("queue",), buckets=SIZES, registry=self.registry
        )
        self.under_way = Gauge("v2l_requests_under_way", "Requests now.", registry=self.registry)
        self.waiting = Gauge("v2l_queue_waiting", "Jobs that wait now.", ("queue",), registry=self.registry)
        self.tokens = Counter(
            "v2l_tokens", "Tokens of the LLM of v2l.", ("kind",), registry=self.registry
        )  # kind: prompt, completion

    def watch_queue(self, name: str, waiting: Callable[[], int]) -> None:
        """Report how many jobs wait in a queue, at the time of each look."""
        self.waiting.labels(name).set_function(lambda: float(waiting()))

    def observe_batch(self, name: str, size: int, seconds: float) -> None:
        """Count one batch of a queue."""
        self.batch_size.labels(name).observe(size)
        self.stage_seconds.labels(name).observe(seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the seconds of a stage."""
        started = perf_counter()
        try:
            yield
        finally:
            self.stage_seconds.labels(name).observe(perf_counter() - started)

    def page(self) -> bytes:
        """The text for Prometheus."""
        return generate_latest(self.registry)
