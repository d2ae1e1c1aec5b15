"""work on a device ──► seconds and peak memory; the options that all scripts of this folder share."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch


def options(description: str, **extra: Any) -> argparse.Namespace:
    """`--toy`, and one option for each keyword."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--toy", action="store_true", help="toy sizes, to check the logic without a GPU")
    for name, default in extra.items():
        parser.add_argument(f"--{name}", default=default)
    return parser.parse_args()


def device() -> torch.device:
    """The GPU, or the CPU for toy sizes."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """The fastest of some repeats, after one that warms up."""
    times = []
    for _ in range(repeats + 1):
        _wait()
        start = time.perf_counter()
        work()
        _wait()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def forget_peak() -> None:
    """Start to count peak memory anew."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak() -> str:
    """Peak GPU memory since `forget_peak`, for people."""
    return (
        f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if torch.cuda.is_available() else "no GPU memory"
    )


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
